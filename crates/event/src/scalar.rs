//! Single values as text: times, days, exact decimals, bytes.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use jiff::Timestamp;
use jiff::civil::{self, Date};

/// Padding may be left out, as many do.
pub(crate) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

const EPOCH: Date = civil::date(1970, 1, 1);

/// µs since 1970 of RFC 3339 text with an offset.
pub(crate) fn time_us(text: &str) -> Result<i64, String> {
    let time: Timestamp = text
        .parse()
        .map_err(|error| format!("not RFC 3339 with an offset: {error} value={text:?}"))?;
    Ok(time.as_microsecond())
}

/// µs since 1970 of ms since 1970.
pub(crate) fn time_of_ms(ms: i64) -> Result<i64, String> {
    Timestamp::from_millisecond(ms)
        .map(Timestamp::as_microsecond)
        .map_err(|_| format!("time is out of range, give ms since 1970 value={ms}"))
}

/// Days since 1970 of `YYYY-MM-DD`.
pub(crate) fn days(text: &str) -> Result<i32, String> {
    let date: Result<Date, _> = text.parse();
    match date {
        Ok(date) if text.len() == "YYYY-MM-DD".len() => Ok(date.duration_since(EPOCH).as_hours() as i32 / 24),
        _ => Err(format!("not a date, write YYYY-MM-DD value={text:?}")),
    }
}

/// A decimal number as it is written in JSON, times 10^scale; exactly.
pub(crate) fn decimal(text: &str, precision: u8, scale: u8) -> Result<i128, String> {
    let bad = || format!("not a decimal number value={text:?}");
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().map_err(|_| bad())?),
        None => (text, 0),
    };
    let (negative, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, mantissa),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = whole.len() + fraction.len();
    if digits == 0 || !(whole.bytes().chain(fraction.bytes())).all(|byte| byte.is_ascii_digit()) {
        return Err(bad());
    }
    let inexact = || format!("has more than {scale} digits after the point value={text:?}");
    let large = || format!("has more than {precision} digits value={text:?}");
    // The value is its digits times 10^shift in the column's unit.
    let shift = i64::from(exponent) + i64::from(scale) - fraction.len() as i64;
    let keep = usize::try_from(digits as i64 + shift.min(0)).unwrap_or(0);
    let mut unscaled: i128 = 0;
    for (at, digit) in whole.bytes().chain(fraction.bytes()).enumerate() {
        let digit = i128::from(digit - b'0');
        if at >= keep {
            if digit != 0 {
                return Err(inexact());
            }
            continue;
        }
        unscaled = unscaled
            .checked_mul(10)
            .and_then(|value| value.checked_add(digit))
            .ok_or_else(large)?;
    }
    if unscaled != 0 && shift > 0 {
        let factor = u32::try_from(shift)
            .ok()
            .and_then(|shift| 10_i128.checked_pow(shift));
        unscaled = factor
            .and_then(|factor| unscaled.checked_mul(factor))
            .ok_or_else(large)?;
    }
    if unscaled >= 10_i128.pow(u32::from(precision)) {
        return Err(large());
    }
    Ok(if negative { -unscaled } else { unscaled })
}

/// Bytes of base64 text.
pub(crate) fn bytes(text: &str, into: &mut Vec<u8>) -> Result<(), String> {
    BASE64
        .decode_vec(text, into)
        .map_err(|error| format!("not base64: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn decimals_are_exact() {
        for (text, expected) in [
            ("1.25", Ok(125)),
            ("-1.250", Ok(-125)),
            ("1.2e1", Ok(1200)),
            ("125e-2", Ok(125)),
            ("0e999999999", Ok(0)),
            ("1.255", Err("more than 2 digits after")),
            ("1e-3", Err("more than 2 digits after")),
            ("1000000.00", Err("more than 8 digits")),
            ("1e99999", Err("more than 8 digits")),
            ("1e99999999999", Err("not a decimal")),
            ("", Err("not a decimal")),
            (".", Err("not a decimal")),
            ("1.2.3", Err("not a decimal")),
            ("--1", Err("not a decimal")),
            ("NaN", Err("not a decimal")),
        ] {
            match (decimal(text, 8, 2), expected) {
                (Ok(got), Ok(expected)) => assert_eq!(got, expected, "{text}"),
                (Err(error), Err(part)) => assert!(error.contains(part), "{text}: {error}"),
                (got, _) => panic!("{text}: {got:?}"),
            }
        }
        let nines = "9".repeat(38);
        assert_eq!(decimal(&nines, 38, 0).unwrap(), 10_i128.pow(38) - 1);
        assert!(decimal(&format!("{nines}9"), 38, 0).is_err());
    }

    proptest! {
        #[test]
        fn a_decimal_is_its_text(unscaled in -(10_i128.pow(20))..10_i128.pow(20), scale in 0u8..19) {
            let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = usize::from(scale) + 1);
            let (whole, fraction) = digits.split_at(digits.len() - usize::from(scale));
            let sign = if unscaled < 0 { "-" } else { "" };
            prop_assert_eq!(decimal(&format!("{sign}{whole}.{fraction}"), 38, scale), Ok(unscaled));
        }

        #[test]
        fn a_day_is_its_text(day in -700_000i32..2_900_000) {
            let date = EPOCH.checked_add(jiff::Span::new().days(day)).unwrap();
            prop_assert_eq!(days(&date.to_string()).ok(), (date.to_string().len() == 10).then_some(day));
        }

        #[test]
        fn any_text_is_a_value_or_an_error(text in ".{0,12}") {
            let _ = (days(&text), decimal(&text, 38, 38), time_us(&text), bytes(&text, &mut Vec::new()));
        }
    }
}
