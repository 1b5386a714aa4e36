//! What do the built-in redactors take out?
//!
//! Each of them looks for one sort of thing and puts a word in brackets in its place; a text that has none of it comes
//! back borrowed, as it was. They go into `GenAi::with_redaction` one by one, several with [`each`], or with [`all`]:
//!
//! ```
//! use tracing_genai::redact;
//!
//! let said = "It's ada@example.com, or call (555) 123-4567. The card is 4111 1111 1111 1111.";
//! assert_eq!(redact::all(said), "It's [email], or call [phone]. The card is [card].");
//! assert_eq!(
//!     redact::each(said, &[redact::emails, redact::phones]),
//!     "It's [email], or call [phone]. The card is 4111 1111 1111 1111.",
//! );
//! ```
//!
//! They know shapes and check sums, not meaning: names, addresses and numbers that are spelled out as words stay, and
//! an order number of ten digits may look like a telephone number. The time that they take grows with the text's length
//! and with nothing else. JSON stays JSON as long as what is found begins and ends within its strings.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::LazyLock;

use regex::{Match, Regex};

/// A function that takes something out of a text, and lends it back when there was nothing to take out.
pub type Redactor = for<'a> fn(&'a str) -> Cow<'a, str>;

/// All of them: [`api_keys`], [`emails`], [`ibans`], [`cards`], [`phones`].
///
/// They run in this order, so that the digits of a key or of a card are not taken for a telephone number.
#[must_use]
pub fn all(text: &str) -> Cow<'_, str> {
    each(text, &[api_keys, emails, ibans, cards, phones])
}

/// Some redactors, one after the other: each sees what those before it have left.
///
/// None at all leave the text as it is.
#[must_use]
pub fn each<'a>(text: &'a str, redactors: &[Redactor]) -> Cow<'a, str> {
    redactors.iter().fold(Cow::Borrowed(text), |text, redact| match text {
        Cow::Borrowed(text) => redact(text),
        Cow::Owned(text) => {
            let redacted = match redact(&text) {
                Cow::Borrowed(same) if std::ptr::eq(same, text.as_str()) => None,
                other => Some(other.into_owned()),
            };
            Cow::Owned(redacted.unwrap_or(text))
        }
    })
}

/// E-mail addresses become `[email]`.
///
/// The letters on both sides of the `@` are those of ASCII and of the Latin alphabets, so that Chinese or Japanese text
/// around an address, written without spaces, stays. The domain has a dot: `root@localhost` and `@ada` stay.
#[must_use]
pub fn emails(text: &str) -> Cow<'_, str> {
    let found = matches(&EMAIL, text).filter_map(|found| {
        let escaped = usize::from(is_escape(text, found.start()));
        (!found.as_str().get(escaped..)?.starts_with('@')).then(|| found.start() + escaped..found.end())
    });
    replaced(text, "[email]", found)
}

/// Telephone numbers become `[phone]`.
///
/// International ones with `+` or `00`; North American ones with or without the leading 1, grouped 3-3-4 or as ten bare
/// digits of which the first and the fourth are 2 to 9; national ones with a leading 0 and 9 to 12 digits. An extension
/// (`x12`, `ext. 12`) belongs to the number. Dates, times, decimals, amounts, IP addresses and versions stay, and so
/// do local numbers of seven digits.
#[must_use]
pub fn phones(text: &str) -> Cow<'_, str> {
    replaced(text, "[phone]", numbers(text).filter_map(|start| phone_at(text, start)))
}

/// Payment card numbers become `[card]`.
///
/// 13 to 19 digits that begin with 2 to 6 and pass Luhn's check, in one run, or with single spaces or single dashes
/// between groups of any size. A number with a wrong check digit stays, and so does a longer run.
#[must_use]
pub fn cards(text: &str) -> Cow<'_, str> {
    replaced(text, "[card]", numbers(text).filter_map(|start| card_at(text, start)))
}

/// International bank account numbers become `[iban]`.
///
/// In one run or in groups of four with single spaces, in capital or small letters. The country is one that has IBANs,
/// the length is that country's, from 15 to 33, and the check digits are right; everything else stays.
#[must_use]
pub fn ibans(text: &str) -> Cow<'_, str> {
    replaced(text, "[iban]", countries(text).filter_map(|start| iban_at(text, start)))
}

/// API keys, tokens and private keys become `[api_key]`.
///
/// Keys that are known by how they begin: `sk-…` (`OpenAI`, Anthropic, `DeepSeek`, `OpenRouter`), Langfuse, xAI, Groq,
/// Perplexity, Replicate, Hugging Face, Google, AWS (ids of access keys), GitHub, GitLab, Slack, Stripe, `SendGrid`,
/// npm. Then JSON Web Tokens, and what follows the word `Bearer`, which stays. A PEM block of a private key goes
/// as a whole; one without an end goes up to the end of the text. What has the beginning of a key and only words behind
/// it (`sk-learn-contributors`) stays.
#[must_use]
pub fn api_keys(text: &str) -> Cow<'_, str> {
    let mut read = 0;
    let found = matches(&KEY_BEGINS, text).filter_map(move |begins| {
        let (before, rest) = text.split_at_checked(begins.start())?;
        let in_word = is_in_word(before) && !begins.as_str().starts_with('-');
        // What has been read once is not read again, be it a key or not: that keeps the time linear.
        if in_word || begins.start() < read {
            return None;
        }
        let key = KEY.as_ref()?.find(rest)?.as_str();
        read = begins.start() + key.len();
        let secret = key.strip_prefix(bearer(key)).unwrap_or(key);
        is_secret(key, secret).then(|| read - secret.len()..read)
    });
    replaced(text, "[api_key]", found)
}

/// The text with this in place of what was found; the ranges come in order, and one that begins inside the one before
/// it does not count.
fn replaced<'a>(text: &'a str, by: &str, found: impl Iterator<Item = Range<usize>>) -> Cow<'a, str> {
    let mut redacted = String::new();
    let mut end = 0;
    for range in found {
        if range.start >= end {
            redacted.push_str(text.get(end..range.start).unwrap_or_default());
            redacted.push_str(by);
            end = range.end;
        }
    }
    if end == 0 {
        return Cow::Borrowed(text);
    }
    redacted.push_str(text.get(end..).unwrap_or_default());
    Cow::Owned(redacted)
}

/// A pattern; none if it did not compile, which a test sees.
type Pattern = LazyLock<Option<Regex>>;

fn matches<'a>(pattern: &'static Pattern, text: &'a str) -> impl Iterator<Item = Match<'a>> {
    pattern.iter().flat_map(|regex| regex.find_iter(text))
}

/// Where numbers may begin: at digits behind no other letter or digit, but maybe behind the letter of an escape.
fn numbers(text: &str) -> impl Iterator<Item = usize> {
    let mut last = 0;
    text.bytes().map(class).enumerate().filter_map(move |(at, class)| {
        // Nothing but arithmetic: in ids and hashes a branch would be taken as often as not.
        let begins = class & !(last >> 1) & DIGIT != 0;
        last = class;
        begins.then_some(at)
    })
}

/// Where two letters and two digits are.
fn countries(text: &str) -> impl Iterator<Item = usize> {
    const TWO_AND_TWO: u32 = u32::from_be_bytes([LETTER, LETTER, DIGIT, DIGIT]);
    let mut last = 0;
    text.bytes().map(class).enumerate().filter_map(move |(at, class)| {
        last = last << 8 | u32::from(class & (LETTER | DIGIT));
        (last == TWO_AND_TWO).then(|| at - 3)
    })
}

const LETTER: u8 = 1;
const DIGIT: u8 = 2;
/// A digit behind it belongs to the same word in any case, which it does not behind the letters of `\n`, `\r` and `\t`.
const GOES_ON: u8 = DIGIT << 1;

/// What a byte is, from a table, since each byte of a text is asked.
fn class(byte: u8) -> u8 {
    const CLASSES: [u8; 256] = {
        let mut classes = [0; 256];
        let mut byte = 0_u8;
        while byte < 128 {
            #[expect(clippy::indexing_slicing, reason = "runs in the compiler")]
            let class = &mut classes[byte as usize];
            *class = match byte {
                b'0'..=b'9' => DIGIT | GOES_ON,
                b'n' | b'r' | b't' => LETTER,
                b'A'..=b'Z' | b'a'..=b'z' => LETTER | GOES_ON,
                _ => 0,
            };
            byte += 1;
        }
        classes
    };
    CLASSES.get(usize::from(byte)).copied().unwrap_or_default()
}

/// Whether a word goes on here: behind a letter or a digit.
fn is_in_word(before: &str) -> bool {
    before.ends_with(|c: char| c.is_ascii_alphanumeric()) && !is_escape(before, before.len().saturating_sub(1))
}

/// Whether the letter at this place belongs to `\n`, `\r` or `\t`, as in a JSON string.
fn is_escape(text: &str, at: usize) -> bool {
    let (before, letter) = text.split_at_checked(at).unwrap_or_default();
    before.ends_with('\\') && letter.starts_with(['n', 'r', 't'])
}

/// Whether a word ends here.
fn ends_word(after: &str) -> bool {
    !after.starts_with(|c: char| c.is_ascii_alphanumeric())
}

static EMAIL: Pattern = LazyLock::new(|| {
    const LETTER: &str = "A-Za-zÀ-ÖØ-öø-ɏḀ-ỿ";
    let local = format!("[0-9_{LETTER}][0-9_{LETTER}.+%'-]*");
    let domain = format!(r"(?:[0-9{LETTER}][0-9{LETTER}-]*\.)+(?:xn--[0-9A-Za-z-]+|[{LETTER}]{{2,}})");
    Regex::new(&format!("{local}@{domain}")).ok()
});

/// What stands between the groups of a number; language models like the odd ones.
const SPACE: &str = r"[ \u{A0}\u{202F}]";
const DASH: &str = r"[-\u{2010}-\u{2013}]";

static PHONE: Pattern = LazyLock::new(|| {
    let joint = format!("(?:{SPACE}|[.]| ?(?:/|{DASH}) ?)");
    let digit = format!("(?:{joint}?[0-9])");
    let numbers = [
        // +49 (0)30 1234567, +(49) 30 1234567, +49 30 1234567, 0049 30 1234567. A country code of one digit is 1 or 7.
        format!(r"(?:\+|00{joint}?)[1-9][0-9]{{0,2}}{joint}?\([0-9]{{1,5}}\){digit}{{4,12}}"),
        format!(r"\+\([1-9][0-9]{{0,2}}\){digit}{{5,12}}"),
        format!(r"\+(?:[17]{digit}|[2-689][0-9]){digit}{{6,13}}"),
        format!(r"00{joint}?[1-9]{digit}{{8,14}}"),
        // (030) 1234567, 030 1234567
        format!(r"\(0[1-9][0-9]{{0,4}}\){digit}{{5,9}}"),
        format!(r"0[1-9]{digit}{{7,10}}"),
        // (555) 123-4567, 1-555-123-4567, 15552234567
        format!(r"(?:1{joint}?)?\([2-9][0-9]{{2}}\){joint}?[0-9]{{3}}{joint}?[0-9]{{4}}"),
        format!(r"(?:1{joint})?[2-9][0-9]{{2}}{joint}[0-9]{{3}}{joint}[0-9]{{4}}"),
        r"(?:1[ -]?)?[2-9][0-9]{2}[2-9][0-9]{6}".to_owned(),
    ];
    let extension = r"(?: ?(?:x|ext\.?) ?[0-9]{1,5})?";
    // Not in the middle of a word, of a decimal, of a time or of an id whose parts dashes join.
    let behind = r"(?:\z|[^0-9A-Za-z_.:\-]|[.:](?:\z|[^0-9])|-(?:\z|[^0-9A-Za-z]))";
    Regex::new(&format!("^(?:{}){extension}{behind}", numbers.join("|"))).ok()
});

/// The telephone number whose first digit is here.
fn phone_at(text: &str, digit: usize) -> Option<Range<usize>> {
    let bare = text.get(..digit)?;
    let signed = bare.strip_suffix('(').unwrap_or(bare);
    let signed = signed.strip_suffix('+').unwrap_or(signed).len();
    let unsigned = || if signed < digit { phone_from(text, digit) } else { None };
    phone_from(text, signed).or_else(unsigned)
}

fn phone_from(text: &str, start: usize) -> Option<Range<usize>> {
    let (before, rest) = text.split_at_checked(start)?;
    if is_joined(before) {
        return None;
    }
    // The pattern has read what is behind the number, too, which is no digit.
    let number = PHONE.as_ref()?.find(rest)?.as_str().trim_end_matches(|c: char| !c.is_ascii_digit());
    (!begins_with_date(number) && !ends_amount(before, number)).then(|| start..start + number.len())
}

/// Whether what follows belongs to a word, to an id whose parts dashes join, to a decimal or to a time.
fn is_joined(before: &str) -> bool {
    is_in_word(before)
        || before.ends_with('_')
        || before.strip_suffix('-').is_some_and(is_in_word)
        || before.strip_suffix(['.', ':']).is_some_and(|before| before.ends_with(|c: char| c.is_ascii_digit()))
}

/// Whether it is day, month and year, with whatever behind them: `01-02-2026 08.30`.
fn begins_with_date(number: &str) -> bool {
    let mut groups = groups(number);
    let mut next = || groups.next().unwrap_or_default();
    let (day, month, year) = (next(), next(), next());
    day.len() <= 2 && month.len() <= 2 && year.len() == 4 && (year.starts_with("19") || year.starts_with("20"))
}

/// Whether it is the rest of an amount that is written with spaces: `1 024 000 000`.
fn ends_amount(before: &str, number: &str) -> bool {
    let amount = before.strip_suffix([' ', '\u{A0}', '\u{202F}']);
    amount.is_some_and(|amount| amount.ends_with(|c: char| c.is_ascii_digit()))
        && groups(number).all(|group| group.len() == 3)
}

fn groups(number: &str) -> impl Iterator<Item = &str> {
    number.split(|c: char| !c.is_ascii_digit())
}

static CARD: Pattern =
    LazyLock::new(|| Regex::new(&format!("^[2-6](?:(?:{SPACE}?[0-9]){{12,18}}|(?:{DASH}?[0-9]){{12,18}})")).ok());

/// The card number that begins here: the longest one, since an expiry date may follow in the same manner.
fn card_at(text: &str, start: usize) -> Option<Range<usize>> {
    let (before, rest) = text.split_at_checked(start)?;
    let decimal = before.strip_suffix('.').is_some_and(|before| before.ends_with(|c: char| c.is_ascii_digit()));
    if decimal || is_in_word(before) || !rest.starts_with(|c| matches!(c, '2'..='6')) {
        return None;
    }
    let digits = CARD.as_ref()?.find(rest)?.as_str().char_indices().filter(|(_, c)| c.is_ascii_digit());
    let ends = digits.skip(12).map(|(at, _)| at + 1).filter(|end| ends_number(rest.get(*end..).unwrap_or_default()));
    let card = ends.filter(|end| rest.get(..*end).is_some_and(passes_luhn)).last()?;
    Some(start..start + card)
}

/// Whether a number ends here: neither a word nor a fraction follows.
fn ends_number(after: &str) -> bool {
    ends_word(after) && after.strip_prefix('.').is_none_or(|after| !after.starts_with(|c: char| c.is_ascii_digit()))
}

/// The check of ISO/IEC 7812: every second digit from the right counts double, by its cross sum.
fn passes_luhn(number: &str) -> bool {
    let digits = number.chars().rev().filter_map(|c| c.to_digit(10));
    let counted = digits.enumerate().map(|(at, digit)| match digit {
        _ if at % 2 == 0 => digit,
        0..=4 => 2 * digit,
        _ => 2 * digit - 9,
    });
    counted.sum::<u32>() % 10 == 0
}

static IBAN: Pattern = LazyLock::new(|| {
    let spaced = format!("(?:{SPACE}[0-9A-Za-z]{{4}}){{2,7}}(?:{SPACE}[0-9A-Za-z]{{1,4}})?");
    Regex::new(&format!("^[A-Za-z]{{2}}[0-9]{{2}}(?:[0-9A-Za-z]{{11,30}}|{spaced})")).ok()
});

/// The account number that begins here.
fn iban_at(text: &str, start: usize) -> Option<Range<usize>> {
    let (before, rest) = text.split_at_checked(start)?;
    if is_in_word(before) {
        return None;
    }
    let mut letters = IBAN.as_ref()?.find(rest)?.as_str().char_indices().filter(|(_, c)| c.is_ascii_alphanumeric());
    let length = iban_length(rest.get(..2)?)?;
    let end = letters.nth(length - 1)?.0 + 1;
    let (iban, after) = rest.split_at_checked(end)?;
    (ends_word(after) && passes_mod_97(iban)).then(|| start..start + end)
}

/// How many letters and digits the country's account numbers have: SWIFT's registry, and the countries that are not in
/// it and use them.
fn iban_length(country: &str) -> Option<usize> {
    const COUNTRIES: &[(usize, &str)] = &[
        (15, "NO"),
        (16, "BE"),
        (18, "DK FI FK FO GL NL SD"),
        (19, "MK SI"),
        (20, "AT BA EE KZ LT LU MN XK"),
        (21, "CH HR LI LV"),
        (22, "BG BH CR DE GB GE IE ME RS VA"),
        (23, "AE GI IL IQ OM SO TL"),
        (24, "AD CZ ES MD PK RO SA SE SK TN VG"),
        (25, "AO CV GW LY MZ PT ST"),
        (26, "DZ IR IS TR"),
        (27, "BI CF CG CM DJ FR GA GQ GR IT KM MC MG MR SM TD"),
        (28, "AL AZ BF BJ BY CI CY DO GT HN HU LB MA ML NE NI PL SN SV TG"),
        (29, "BR EG PS QA UA"),
        (30, "JO KW MU YE"),
        (31, "MT SC"),
        (32, "LC"),
        (33, "RU"),
    ];
    let is_among = |countries: &str| countries.split(' ').any(|other| other.eq_ignore_ascii_case(country));
    COUNTRIES.iter().find(|(_, countries)| is_among(countries)).map(|(length, _)| *length)
}

/// The check of ISO 13616: the first four behind the rest, letters as 10 to 35, is 1 modulo 97.
fn passes_mod_97(iban: &str) -> bool {
    let (head, tail) = iban.split_at_checked(4).unwrap_or_default();
    let values = tail.chars().chain(head.chars()).filter_map(|c| c.to_digit(36));
    values.fold(0, |rest, value| (rest * if value < 10 { 10 } else { 100 } + value) % 97) == 1
}

/// How keys begin: plain words only, so that they are searched for many bytes at once.
static KEY_BEGINS: Pattern = LazyLock::new(|| {
    let begins = [
        "sk-|pk-lf-|sk_live_|sk_test_|pk_live_|pk_test_|rk_live_|rk_test_|AKIA|ASIA|ghp_|gho_|ghu_|ghs_|ghr_",
        "github_pat_|glpat-|xoxa-|xoxb-|xoxe-|xoxo-|xoxp-|xoxr-|xoxs-|AIza|hf_|gsk_|xai-|pplx-|r8_|SG\\.|npm_|eyJ",
        "Bearer|bearer|BEARER|-----BEGIN ",
    ];
    Regex::new(&begins.join("|")).ok()
});

static KEY: Pattern = LazyLock::new(|| {
    let keys = [
        r"(?:sk|pk-lf)-[0-9A-Za-z_-]{16,}",
        r"[spr]k_(?:live|test)_[0-9A-Za-z]{10,}",
        r"A[KS]IA[0-9A-Z]{16}(?-u:\b)",
        r"gh[opsur]_[0-9A-Za-z]{20,}",
        r"github_pat_[0-9A-Za-z_]{20,}",
        r"glpat-[0-9A-Za-z_-]{20,}(?:\.[0-9a-z]{2}\.[0-9a-z]{7,9})?",
        r"xox[abeoprs]-[0-9A-Za-z-]{10,}",
        r"AIza[0-9A-Za-z_-]{30,}",
        r"(?:hf_|gsk_|xai-|pplx-|r8_|npm_)[0-9A-Za-z]{20,}",
        r"SG\.[0-9A-Za-z_-]{16,}\.[0-9A-Za-z_-]{16,}",
        r"eyJ[0-9A-Za-z_-]*(?:\.[0-9A-Za-z_-]+)*",
        r"(?:Bearer|bearer|BEARER) +[0-9A-Za-z._~+/=-]{5,}[0-9A-Za-z_~+/=-]",
        r"-----BEGIN [0-9A-Z ]*PRIVATE KEY[A-Z ]*-----(?s:.*?)(?:-----END [0-9A-Z ]*PRIVATE KEY[A-Z ]*-----|\z)",
    ];
    Regex::new(&format!("^(?:{})", keys.join("|"))).ok()
});

/// The word `Bearer` and the spaces behind it, if that is how it begins.
fn bearer(key: &str) -> &str {
    let word = key.get(..6).filter(|word| word.eq_ignore_ascii_case("bearer"));
    let token = word.and_then(|_| key.rfind(' ')).map_or(0, |space| space + 1);
    key.get(..token).unwrap_or_default()
}

/// Whether it is a key, and not words that begin or are joined as keys are.
fn is_secret(key: &str, secret: &str) -> bool {
    let has_digit = secret.contains(|c: char| c.is_ascii_digit());
    if key.starts_with("eyJ") {
        return key.split('.').filter(|part| part.len() >= 4).count() >= 3;
    }
    if secret.len() < key.len() {
        return has_digit || secret.len() >= 24;
    }
    has_digit || !["sk-", "pk-", "xox"].iter().any(|begins| key.starts_with(begins))
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::time::{Duration, Instant};

    use proptest::prelude::proptest;

    use super::{Redactor, all, api_keys, cards, each, emails, ibans, passes_luhn, passes_mod_97, phones};

    const EACH: [Redactor; 6] = [all, api_keys, emails, ibans, cards, phones];

    /// In the middle, at either end, and between letters that take several bytes.
    fn assert_found(redact: Redactor, table: &[&str], by: &str) {
        for found in table {
            for (before, after) in [
                ("", ""),
                ("a: ", ", b"),
                ("漢字", "漢字"),
                ("„", "“ ü"),
                ("{\"a\":\"", "\"}"),
                ("x\\n", "\\ny"),
                ("(", ")."),
            ] {
                assert_eq!(redact(&format!("{before}{found}{after}")), format!("{before}{by}{after}"));
            }
            assert_eq!(redact(&format!("{found}, {found}; {found}")), format!("{by}, {by}; {by}"));
            let all = all(found);
            assert!(!all.contains(|c: char| c.is_ascii_digit() || c == '@'), "{found} became {all}");
        }
    }

    fn assert_kept(redact: Redactor, table: &[&str]) {
        for kept in table {
            for text in [(*kept).to_owned(), format!("ü {kept} ü"), format!("[\"{kept}\"]"), format!("{kept}.")] {
                assert!(
                    matches!(redact(&text), Cow::Borrowed(same) if same == text),
                    "{text} became {}",
                    redact(&text)
                );
            }
        }
    }

    #[test]
    fn every_pattern_compiles() {
        for pattern in [&super::EMAIL, &super::PHONE, &super::CARD, &super::IBAN, &super::KEY_BEGINS, &super::KEY] {
            assert!(pattern.is_some());
        }
    }

    #[test]
    fn emails_are_found() {
        let found = [
            "ada@example.com",
            "Ada.Lovelace+calls@mail.example.co.uk",
            "o'brien_99%x@ex-ample.io",
            "jörg.müller@straße-köln.de",
            "łukasz@żółw.pl",
            "a@b.cc",
            "1@2.de",
            "user@xn--fsqu00a.xn--0zwm56d",
        ];
        assert_found(emails, &found, "[email]");
        for (text, expected) in [
            ("mailto:ada@example.com?subject=x", "mailto:[email]?subject=x"),
            ("<ada@example.com>", "<[email]>"),
            ("'ada@example.com'", "'[email]'"),
            ("email=ada@example.com&b", "email=[email]&b"),
            ("ada@example.com.", "[email]."),
            ("ada@example.com…", "[email]…"),
            ("我的邮箱是ada@example.com谢谢", "我的邮箱是[email]谢谢"),
            ("メールはada@example.co.jpです", "メールは[email]です"),
            ("ada@example.com@example.com", "[email]@example.com"),
            (r"Hi\nada@example.com\nBye", r"Hi\n[email]\nBye"),
            (r"C:\ada@example.com", r"C:\[email]"),
        ] {
            assert_eq!(emails(text), expected);
        }
    }

    #[test]
    fn other_uses_of_the_at_sign_stay() {
        let kept = [
            "@ada",
            "ada@",
            "@",
            "root@localhost",
            "node@18.2.1",
            "a @ b.com",
            "ada@.com",
            "ada@example.c",
            "ada@example.",
            "3 @ 5.00",
            "用户@例え.テスト",
            r"\n@example.com",
        ];
        assert_kept(emails, &kept);
    }

    #[test]
    fn phones_are_found() {
        let found = [
            "+49 30 1234567",
            "+49 (0)30 1234567",
            "+49 (0) 30 / 123 45 67",
            "+49 30 / 1234567",
            "+(49) 30 1234567",
            "+493012345678",
            "+44 20 7946 0958",
            "+33 1 23 45 67 89",
            "+1 (555) 123-4567",
            "+1-555-123-4567",
            "+1.555.123.4567",
            "+15551234567",
            "+86 138 0013 8000",
            "+358 9 1234567",
            "0049 30 1234567",
            "00 49 30 1234567",
            "004930123456",
            "(555) 123-4567",
            "(555)123-4567",
            "(555) 1234567",
            "555-123-4567",
            "555.123.4567",
            "555 123 4567",
            "555‑123‑4567",
            "5552234567",
            "15552234567",
            "1-555-123-4567",
            "1 (555) 123-4567",
            "1 800 555 0199",
            "555-123-4567 x12",
            "(555) 123-4567 ext. 1234",
            "030 1234567",
            "030/1234567",
            "030 / 123 45 67",
            "030 - 1234567",
            "(030) 1234567",
            "(030) / 1234567",
            "(030)1234567",
            "+49 30 - 1234567",
            "+7 495 123-45-67",
            "+683 4000 12",
            "0170/1234567",
            "01701234567",
            "0170 123 45 67",
            "0151-23456789",
            "030.123.45.67",
            "020 7946 0958",
            "01 23 45 67 89",
            "0800 1234567",
            "03-1234-5678",
            "030\u{a0}1234567",
        ];
        assert_found(phones, &found, "[phone]");
        for (text, expected) in [
            ("tel:+4930123456", "tel:[phone]"),
            ("(555-123-4567)", "([phone])"),
            ("(030 1234567)", "([phone])"),
            ("call 3 555-123-4567 now", "call 3 [phone] now"),
            ("030 1234567, 8:30", "[phone], 8:30"),
            ("030 1234567 2026-11-21", "[phone] 2026-11-21"),
            ("01.02.2026 030 1234567", "01.02.2026 [phone]"),
            ("030 1234567/0170 1234567", "[phone]/[phone]"),
            ("555-123-4567 555-123-4568", "[phone] [phone]"),
            ("42,555-123-4567,7", "42,[phone],7"),
            ("555-123-4567?", "[phone]?"),
            (r#"{"n":5552234567}"#, r#"{"n":[phone]}"#),
            ("电话5552234567号", "电话[phone]号"),
        ] {
            assert_eq!(phones(text), expected);
        }
    }

    #[test]
    fn numbers_that_are_no_phones_stay() {
        let kept = [
            "2026-11-21",
            "21.11.2026",
            "01-02-2026",
            "01.02.2026",
            "01/02/2026",
            "01-02-2026 08:30",
            "01-02-2026 08.30",
            "01.02.2026-03.04.2026",
            "08:30:00",
            "08:30-09:15",
            "2026-11-21T08:30:00.123456789Z",
            "2026-11-21 02:30:00+01:00",
            "2026-11-21 02:30:00.123456789 +01:00",
            "2026-11-21T02:30:01.234567890+01:00",
            "20261121T083000Z",
            "1700000000",
            "1700000000.123456",
            "1700000000000",
            "1700000000123456789",
            "192.168.100.200",
            "10.0.0.1:8080",
            "255.255.255.255",
            "2001:db8:85a3:0:0:8a2e:370:7334",
            "0.93120312",
            "0.9312031234",
            "3.141592653589",
            "-0.0123456789",
            "[0.0123456789,0.5552234567]",
            "1.5552234567",
            "+3.141592653589",
            "0123. 4567890",
            "6.02214076e23",
            "1.2.3",
            "10.0.22631.4317",
            "v2.555.1234",
            "550e8400-e29b-41d4-a716-446655440000",
            "12345678-0123-4567-8901-234567890123",
            "01234567-8912-4abc-89ab-012345678901",
            "4bf92f3577b34da6a3ce929d0e0e4736",
            "00f067aa0ba902b7",
            "5552234567abcdef",
            "x5552234567",
            "id_5552234567",
            "order-0123456789",
            "1,234,567.00",
            "1.234.567,00",
            "1 024 000 000",
            "$2,500,000,000",
            "123",
            "12345",
            "555-1234",
            "1234567",
            "12345678",
            "+15",
            "+1000000",
            "007",
            "00123456",
            "0x1234567890",
            "123-45-6789",
            "(2026)",
            "1234567890",
            "9999999999999",
        ];
        assert_kept(phones, &kept);
    }

    #[test]
    fn cards_are_found() {
        let found = [
            "4111111111111111",
            "4111 1111 1111 1111",
            "4111-1111-1111-1111",
            "4111\u{a0}1111\u{a0}1111\u{a0}1111",
            "4111‑1111‑1111‑1111",
            "5555555555554444",
            "2223003122003222",
            "378282246310005",
            "3782 822463 10005",
            "30569309025904",
            "6011 1111 1111 1117",
            "3530111333300000",
            "4222222222222",
            "6304000000000000",
            "4000000000000000006",
            "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
        ];
        assert_found(cards, &found, "[card]");
        for (text, expected) in [
            ("4111 1111 1111 1111 12/27", "[card] 12/27"),
            ("4111-1111-1111-1111-123", "[card]-123"),
            ("2 cards: 4111111111111111,5555555555554444", "2 cards: [card],[card]"),
            ("visa_4111111111111111.", "visa_[card]."),
        ] {
            assert_eq!(cards(text), expected);
        }
    }

    #[test]
    fn numbers_that_are_no_cards_stay() {
        let kept = [
            "4111111111111112",
            "4111 1111 1111 1112",
            "1111111111111117",
            "9111111111111111",
            "411111111111",
            "41111111111111110000",
            "04111111111111111",
            "4111  1111  1111  1111",
            "4111 1111-1111 1111",
            "0.4111111111111111",
            "4111111111111111.50",
            "a4111111111111111",
            "4111111111111111f",
            "2026-11-21 2027-01-05",
            "1700000000000",
            "550e8400-e29b-41d4-a716-446655440000",
        ];
        assert_kept(cards, &kept);
    }

    #[test]
    fn ibans_are_found() {
        let found = [
            "DE89370400440532013000",
            "DE89 3704 0044 0532 0130 00",
            "de89 3704 0044 0532 0130 00",
            "DE89\u{a0}3704\u{a0}0044\u{a0}0532\u{a0}0130\u{a0}00",
            "GB82 WEST 1234 5698 7654 32",
            "GB82west12345698765432",
            "FR14 2004 1010 0505 0001 3M02 606",
            "NO9386011117947",
            "NO93 8601 1117 947",
            "BE68 5390 0754 7034",
            "CH93 0076 2011 6238 5295 7",
            "MT84 MALT 0110 0001 2345 MTLC AST0 01S",
            "LC14BOSL123456789012345678901234",
            "NL91 ABNA 0417 1643 00",
        ];
        assert_found(ibans, &found, "[iban]");
        for (text, expected) in [
            ("IBAN:DE89370400440532013000.", "IBAN:[iban]."),
            ("BE68 5390 0754 7034 bald danke", "[iban] bald danke"),
            ("NO93 8601 1117 947 5 mal", "[iban] 5 mal"),
            ("DE89 3704 0044 0532 0130 00 DE89 3704 0044 0532 0130 00", "[iban] [iban]"),
        ] {
            assert_eq!(ibans(text), expected);
        }
    }

    #[test]
    fn what_is_no_iban_stays() {
        let kept = [
            "DE88370400440532013000",
            "DE8937040044053201300",
            "DE893704004405320130000",
            "DE89 3704 0044 0532 0130 0",
            "XDE89370400440532013000",
            "ZZ89370400440532013000",
            "DE 89 3704 0044 0532 0130 00",
            "DE89  3704  0044  0532  0130  00",
            "D",
            "1",
            "ü9",
            "4bf92f3577b34da6a3ce929d0e0e4736",
        ];
        assert_kept(ibans, &kept);
    }

    /// Made up here, so that no scanner takes this file for a leak.
    fn keys() -> Vec<String> {
        let filled = |begin: &str, count: usize| {
            begin.chars().chain("aB3dE5gH7jK9mN1pQ2".chars().cycle().take(count)).collect::<String>()
        };
        let mut keys: Vec<String> = [
            ("sk-", 48),
            ("sk-", 16),
            ("sk-ant-api03-", 95),
            ("sk-proj-", 40),
            ("sk-or-v1-", 64),
            ("sk-lf-", 36),
            ("pk-lf-", 36),
            ("ghp_", 36),
            ("gho_", 36),
            ("ghu_", 36),
            ("ghs_", 36),
            ("ghr_", 36),
            ("github_pat_", 82),
            ("glpat-", 20),
            ("xoxb-123456789012-", 24),
            ("xoxp-123456789012-", 24),
            ("AIza", 35),
            ("hf_", 34),
            ("gsk_", 52),
            ("xai-", 80),
            ("pplx-", 48),
            ("r8_", 37),
            ("sk_live_", 24),
            ("sk_test_", 24),
            ("rk_live_", 24),
            ("pk_test_", 24),
            ("npm_", 36),
        ]
        .map(|(begin, count)| filled(begin, count))
        .into();
        keys.extend(["AKIA", "ASIA"].map(|begin| format!("{begin}IOSFODNN7EXAMPLE")));
        keys.push(format!("hf_{}", "aBcDeFgHiJ".repeat(3)));
        keys.push(format!("{}.{}", filled("SG.", 22), filled("", 43)));
        keys.push(format!("{}.{}.{}", filled("eyJ", 33), filled("eyJ", 60), filled("", 43)));
        keys
    }

    const PEM: &str = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA75\nq8Zr+/Ab==\n-----END RSA PRIVATE KEY-----";

    #[test]
    fn api_keys_are_found() {
        let keys = keys();
        let mut found: Vec<&str> = keys.iter().map(String::as_str).collect();
        let escaped = PEM.replace('\n', "\\n");
        found.extend([PEM, &escaped]);
        assert_found(api_keys, &found, "[api_key]");
        for key in &keys {
            for (before, after) in [("Authorization: Bearer ", "\r\n"), ("bearer  ", ""), ("key=", "&b"), ("a-", " b")]
            {
                assert_eq!(api_keys(&format!("{before}{key}{after}")), format!("{before}[api_key]{after}"));
            }
        }
    }

    #[test]
    fn a_bearer_keeps_its_word_and_a_block_without_an_end_goes_to_the_end() {
        let cut = format!("key: {}", &PEM[..60]);
        let unspaced = format!("key{PEM}");
        let two = format!("{PEM} and {}", PEM.replace("RSA ", ""));
        let unended = format!("{PEM} and {}", &PEM[..40]);
        for (text, expected) in [
            ("Bearer abc123", "Bearer [api_key]"),
            ("Bearer abc123.", "Bearer [api_key]."),
            (r#"{"Authorization":"Bearer 0a1b/2c+3d=="}"#, r#"{"Authorization":"Bearer [api_key]"}"#),
            ("BEARER mF_9.B5f-4.1JqM, x", "BEARER [api_key], x"),
            (cut.as_str(), "key: [api_key]"),
            (unspaced.as_str(), "key[api_key]"),
            (two.as_str(), "[api_key] and [api_key]"),
            (unended.as_str(), "[api_key] and [api_key]"),
        ] {
            assert_eq!(api_keys(text), expected);
        }
    }

    #[test]
    fn words_that_begin_as_keys_do_stay() {
        let kept = [
            "sk-learn-contributors-and-friends",
            "sk-",
            "sk-12345",
            "task-1234567890abcdef0",
            "disk_sk",
            "xoxo-my-dear-friends",
            "AKIA",
            "AKIAIOSFODNN7EXAMPLEX",
            "XAKIAIOSFODNN7EXAMPLE",
            "npm_config_registry",
            "eyJ",
            "eyJhbGciOiJIUzI1NiJ9",
            "eyJ.a.b",
            "Bearer",
            "Bearer of bad news",
            "the bearer authentication scheme",
            "forbearer 1234567",
            "SG.1.2",
            "-----BEGIN CERTIFICATE-----",
            "-----BEGIN PUBLIC KEY-----",
            "-----BEGIN ",
        ];
        assert_kept(api_keys, &kept);
    }

    #[test]
    fn all_run_in_an_order_that_leaves_no_pieces() {
        for (text, expected) in [
            ("", ""),
            ("nothing to see here", "nothing to see here"),
            ("5552234567@example.com", "[email]"),
            ("DE89 3704 0044 0532 0130 00", "[iban]"),
            ("Card 4111 1111 1111 1111, phone 030 1234567", "Card [card], phone [phone]"),
            ("Bearer sk-1234567890abcdef555-123-4567", "Bearer [api_key]"),
            (
                r#"{"to":"ada@example.com","tel":"+49 30 1234567","key":"sk-1234567890abcdef","n":0.5552234567}"#,
                r#"{"to":"[email]","tel":"[phone]","key":"[api_key]","n":0.5552234567}"#,
            ),
            ("ada@example.com555-123-4567", "[email][phone]"),
        ] {
            assert_eq!(all(text), expected);
            assert_eq!(matches!(all(text), Cow::Borrowed(_)), text == expected);
        }
    }

    #[test]
    fn each_runs_those_that_it_is_given() {
        fn first_word(text: &str) -> Cow<'_, str> {
            Cow::Borrowed(text.split(' ').next().unwrap())
        }
        let text = "ada@example.com 555-123-4567";
        assert_eq!(each(text, &[]), text);
        assert_eq!(each(text, &[phones]), "ada@example.com [phone]");
        assert_eq!(each(text, &[emails, phones]), "[email] [phone]");
        assert_eq!(each(text, &[emails, first_word]), "[email]");
        assert_eq!(each(text, &[first_word, emails]), "[email]");
        assert!(matches!(each(text, &[cards, ibans]), Cow::Borrowed(same) if std::ptr::eq(same, text)));
    }

    #[test]
    fn check_sums_are_checked() {
        for (number, expected) in [("79927398713", true), ("79927398710", false), ("0", true), ("", true)] {
            assert_eq!(passes_luhn(number), expected, "{number}");
        }
        for (iban, expected) in [("GB82WEST12345698765432", true), ("GB83WEST12345698765432", false), ("", false)] {
            assert_eq!(passes_mod_97(iban), expected, "{iban}");
        }
    }

    /// Nanoseconds a byte, the best of three.
    fn cost(piece: &str, bytes: usize) -> f64 {
        let text = piece.repeat(bytes / piece.len());
        let round = |_| {
            let begun = Instant::now();
            std::hint::black_box(all(&text));
            begun.elapsed()
        };
        #[expect(clippy::cast_precision_loss, reason = "a measurement")]
        let bytes = text.len() as f64;
        (0..3).map(round).min().unwrap_or(Duration::ZERO).as_secs_f64() * 1e9 / bytes
    }

    #[test]
    fn the_time_grows_with_the_length_and_no_faster() {
        for piece in [
            "hello world ",
            "a@",
            "a@b.",
            "a@b.cc-",
            "a.",
            "1 ",
            "1-",
            "01",
            "0123456789-",
            "4111 ",
            "41111111111111111111 ",
            "+49 ",
            "(0",
            "DE89",
            "DE89 ",
            "sk-",
            "sk-1 ",
            "eyJ-",
            "eyJa.",
            "SG.aaaaaaaaaaaaaaaa.",
            "xoxb-",
            "Bearer ",
            "Bearer a",
            "-----BEGIN PRIVATE KEY-----",
            "-----BEGIN ",
            "glpat-",
            "漢",
            "ü@",
        ] {
            // A machine that is busy with something else may be so several times.
            let is_linear = |_| cost(piece, 1 << 17) < 6.0 * cost(piece, 1 << 13);
            assert!((0..5).any(is_linear), "{piece}: a byte costs more in a text that is 16 times as long");
        }
    }

    #[test]
    fn a_megabyte_is_read_to_its_end() {
        let text = format!("{}ada@example.com, 030 1234567", "Well, I said 42 or 43 times. 漢字 ".repeat(32_768));
        assert!(all(&text).ends_with("43 times. 漢字 [email], [phone]"));
    }

    /// What the patterns are made of, in any order.
    const ODD: &str =
        concat!(r"([-+(). @/:_0-9A-Za-zü漢\\]|sk-|DE89|eyJ|Bearer |555|0170|", "-----BEGIN |PRIVATE KEY-----){0,60}",);

    proptest! {
        #[test]
        fn nothing_panics(text in "\\PC*", odd in ODD) {
            for redact in EACH {
                redact(&text);
                redact(&odd);
            }
        }

        #[test]
        fn text_without_digits_at_signs_and_dashes_is_lent_back(text in "[^0-9@-]*") {
            for redact in EACH {
                assert!(matches!(redact(&text), Cow::Borrowed(same) if std::ptr::eq(same, text.as_str())));
            }
        }

        #[test]
        fn a_card_is_found_however_it_is_grouped(
            digits in "[2-6][0-9]{11,17}",
            groups in proptest::collection::vec(1_usize..7, 19),
            joint in proptest::sample::select(vec!["", " ", "-"]),
        ) {
            let check = ('0'..='9').find(|check| passes_luhn(&format!("{digits}{check}"))).unwrap();
            let mut left = format!("{digits}{check}");
            let mut card = String::new();
            for size in groups {
                let rest = left.split_off(size.min(left.len()));
                card.push_str(&left);
                card.push_str(if rest.is_empty() { "" } else { joint });
                left = rest;
            }
            assert_eq!(cards(&format!("漢{card}字")), "漢[card]字");
        }

        #[test]
        fn an_iban_is_found_with_spaces_and_without(account in "[0-9A-Z]{18}", spaced in proptest::bool::ANY) {
            let iban = (2..99).map(|check| format!("DE{check:02}{account}")).find(|iban| passes_mod_97(iban)).unwrap();
            let groups: Vec<_> = iban.as_bytes().chunks(4).map(|group| std::str::from_utf8(group).unwrap()).collect();
            let iban = groups.join(if spaced { " " } else { "" });
            for iban in [iban.to_lowercase(), iban] {
                assert_eq!(ibans(&format!("漢{iban}字")), "漢[iban]字");
            }
        }
    }
}
