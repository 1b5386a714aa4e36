//! What do the built-in redactors cost?
//!
//! A thousand different messages of 2 KB, as people, models and tools write them, some with an address, a number or a
//! key in them, go through all redactors; beside it, in the same run, a copy of the same text and a look at each byte.
//! The fastest round of each counts:
//!
//! ```text
//! cargo bench --bench redaction
//! ```
//!
//! It fails when a message takes 20 µs or more in the mean. Without `--bench`, as `cargo test` calls it, one round runs
//! and nothing is judged.
#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::env;
use std::fmt::Write;
use std::hint::black_box;
use std::time::Instant;

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use tracing_genai::redact::{self, Redactor};

const MESSAGES: u64 = 1_000;
const BYTES: usize = 2_048;
const LIMIT_MICROS: f64 = 20.0;

fn main() -> Result<(), String> {
    let judged = env::args().any(|arg| arg == "--bench");
    let rounds = if judged { 50 } else { 1 };
    let messages: Vec<_> = (0..MESSAGES).map(message).collect();
    let plain: Vec<_> = messages.iter().filter(|text| redact::all(text) == **text).cloned().collect();

    println!("{} messages of 2 KB, {} of them with nothing to take out\n", messages.len(), plain.len());
    let report = |what: &str, messages: &[String], on_each: &dyn Fn(&str)| {
        let micros = (0..rounds).map(|_| round(messages, on_each)).fold(f64::MAX, f64::min);
        println!("  {what:<22} {micros:>7.3} µs");
        micros
    };
    report("a copy", &messages, &|text| drop(black_box(text.to_owned())));
    report("a look at each byte", &messages, &|text| {
        black_box(text.bytes().filter(u8::is_ascii_digit).count());
    });
    for (name, redact) in ONE_BY_ONE {
        report(name, &messages, &|text| drop(black_box(redact(text))));
    }
    report("all, nothing found", &plain, &|text| drop(black_box(redact::all(text))));
    let all = report("all", &messages, &|text| drop(black_box(redact::all(text))));

    if judged && all >= LIMIT_MICROS {
        return Err(format!("all redactors take {all:.1} µs a message, the limit is {LIMIT_MICROS} µs"));
    }
    Ok(())
}

const ONE_BY_ONE: [(&str, Redactor); 5] = [
    ("api_keys", redact::api_keys),
    ("emails", redact::emails),
    ("ibans", redact::ibans),
    ("cards", redact::cards),
    ("phones", redact::phones),
];

/// Microseconds a message.
#[expect(clippy::cast_precision_loss, reason = "a count of messages")]
fn round(messages: &[String], on_each: &dyn Fn(&str)) -> f64 {
    let begun = Instant::now();
    for text in messages {
        on_each(text);
    }
    begun.elapsed().as_secs_f64() * 1e6 / messages.len() as f64
}

/// Two thirds talk, one third JSON; every fourth has something in it that should not leave.
fn message(seed: u64) -> String {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut text = String::with_capacity(2 * BYTES);
    let json = seed % 3 == 0;
    let private_at = if seed % 4 == 0 { random.random_range(0..BYTES - 200) } else { usize::MAX };
    let mut is_private_in = false;
    while text.len() < BYTES {
        if !is_private_in && text.len() >= private_at {
            is_private_in = true;
            private(&mut text, seed, &mut random);
        }
        if json { entry(&mut text, &mut random) } else { sentence(&mut text, &mut random) }
    }
    let end = (0..=BYTES).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text.truncate(end);
    text
}

fn private(text: &mut String, seed: u64, random: &mut SmallRng) {
    let number = random.random_range(1_000_000..9_999_999);
    let _ = match seed / 4 % 6 {
        0 => write!(text, "Write to ada.{number}@mail.example.com. "),
        1 => write!(text, "Call +49 170 {number} or (555) 123-4567. "),
        2 => write!(text, "It is 4111 1111 1111 1111, valid until 12/27. "),
        3 => write!(text, "IBAN DE89 3704 0044 0532 0130 00, order {number}. "),
        4 => write!(text, "Authorization: Bearer sk-proj-{number}aB3dE5gH7jK9mN1pQ2rS4tU6. "),
        _ => write!(text, "ada{number}@example.org, 030 {number}, ada@example.com. "),
    };
}

fn sentence(text: &mut String, random: &mut SmallRng) {
    const SENTENCES: &[&str] = &[
        "Sure, I can help you with that, let me have a look at your booking first.",
        "I called last week and nobody could tell me where my parcel was.",
        "The flight leaves at 08:30 from gate 12 and arrives at 11:45 local time.",
        "Könnten Sie mir bitte die Rechnung für März noch einmal schicken?",
        "That would be 1,249.00 in total, or 3 payments of 416.33 each.",
        "You said that it'd be there by Friday; it's Tuesday now, and I've taken two days off for it.",
        "Your reservation for 4 people on 2026-11-21 at 19:30 is confirmed.",
        "先週の金曜日に電話しましたが、まだ返事がありません。",
        "Version 2.14.3 fixes the problem with risk-assessment forms; please update when you can.",
        "Hmm, let me think about it. Do you have anything with a sea view, maybe on a higher floor?",
        "- The warranty covers parts and labour for 24 months from the day of delivery.",
        "Um, so, yeah, I was wondering whether I could, like, change the address on the order?",
    ];
    text.push_str(SENTENCES.choose(random).copied().unwrap_or_default());
    text.push(if random.random_bool(0.2) { '\n' } else { ' ' });
}

fn entry(text: &mut String, random: &mut SmallRng) {
    let id: u128 = random.random();
    let (score, count): (f64, u32) = (random.random(), random.random_range(0..5_000));
    let second = random.random_range(0..60);
    let _ = write!(text, r#"{{"id":"{id:032x}","role":"tool","score":{score:.8},"tokens":{count},"#);
    let _ = write!(
        text,
        r#""created_at":"2026-11-21T08:30:{second:02}.123Z","ts":17{count:08},"host":"10.0.{second}.17","content":"#,
    );
    let mut content = String::new();
    sentence(&mut content, random);
    let _ = write!(text, "\"{}\"}},", content.escape_debug());
}
