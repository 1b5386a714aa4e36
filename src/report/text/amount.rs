//! How is a number written for people?

use std::time::Duration;

/// Under one second in milliseconds, else in seconds with two decimals.
pub(super) fn time(duration: Duration) -> String {
    let micros = duration.as_micros();
    match micros {
        0 if !duration.is_zero() => "<1 ms".to_owned(),
        1..1_000 => "<1 ms".to_owned(),
        _ if (micros + 500) / 1_000 < 1_000 => format!("{} ms", (micros + 500) / 1_000),
        _ => format!("{:.2} s", duration.as_secs_f64()),
    }
}

/// With a comma at each thousand.
pub(super) fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.char_indices() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count with the name of what is counted, which is the plain one for one.
pub(super) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// US dollars: cents from one dollar up, below that four decimals.
pub(super) fn cost(dollars: f64) -> String {
    if dollars >= 1.0 {
        format!("${dollars:.2}")
    } else if dollars > 0.0 && dollars < 0.0001 {
        "<$0.0001".to_owned()
    } else {
        format!("${dollars:.4}")
    }
}

#[cfg(test)]
mod tests {
    use super::{cost, count, counted, time};
    use std::time::Duration;

    #[test]
    fn a_time_has_milliseconds_below_a_second_and_two_decimals_above() {
        for (micros, text) in [
            (0, "0 ms"),
            (300, "<1 ms"),
            (1_400, "1 ms"),
            (840_000, "840 ms"),
            (999_400, "999 ms"),
            (999_600, "1.00 s"),
            (3_210_000, "3.21 s"),
            (75_000_000, "75.00 s"),
        ] {
            assert_eq!(time(Duration::from_micros(micros)), text);
        }
    }

    #[test]
    fn counts_and_costs_are_written_for_people() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(counted(1, "turn", "turns"), "1 turn");
        assert_eq!(counted(2, "turn", "turns"), "2 turns");
        assert_eq!(cost(0.0021), "$0.0021");
        assert_eq!(cost(0.000_01), "<$0.0001");
        assert_eq!(cost(12.345), "$12.35");
    }
}
