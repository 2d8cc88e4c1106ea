//! US dollars as whole nano-dollars, from a decimal text and back. Never rounds what it reads, never uses floats.

/// Nano-dollars of a dollar.
pub const NANOS: u64 = 1_000_000_000;
/// Digits after the point that a nano-dollar has.
const DECIMALS: usize = 9;
/// The most dollars that a text may say.
const MAX_DOLLARS: u64 = 1_000_000_000;

/// Reads a decimal text such as `12.50` as nano-dollars.
///
/// # Errors
/// A sentence that says which form is expected.
pub fn nanos(text: &str) -> Result<u64, String> {
    let wrong = || format!("{:?} is no amount of US dollars such as 12.50", text.chars().take(40).collect::<String>());
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.len() <= 20 && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return Err(wrong());
    }
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > DECIMALS {
        return Err(format!("{text} has more than {DECIMALS} digits after the point"));
    }
    let dollars: u64 = whole.parse().map_err(|_| wrong())?;
    if dollars > MAX_DOLLARS {
        return Err(format!("{text} is more than {MAX_DOLLARS} dollars"));
    }
    let nanos: u64 = format!("{fraction:0<DECIMALS$}").parse().map_err(|_| wrong())?;
    Ok(dollars * NANOS + nanos)
}

/// Writes nano-dollars as dollars, with at least two digits after the point.
pub fn dollars(nanos: u64) -> String {
    let fraction = format!("{:09}", nanos % NANOS);
    let kept = fraction.trim_end_matches('0').len().max(2);
    format!("{}.{}", nanos / NANOS, fraction.get(..kept).unwrap_or("00"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_nanos() {
        for (text, expected) in
            [("0", 0), ("12.50", 12_500_000_000), ("0.000000001", 1), ("3.1000000000", 3_100_000_000)]
        {
            assert_eq!(nanos(text), Ok(expected), "{text}");
        }
        for bad in
            ["", ".5", "5.", "-1", "1e3", "+1", "0.0000000001", "1000000001", "1 ", "99999999999999999999999", "1.2.3"]
        {
            assert!(nanos(bad).is_err(), "{bad:?}");
        }
        for (amount, expected) in
            [(0, "0.00"), (12_500_000_000, "12.50"), (1, "0.000000001"), (u64::MAX, "18446744073.709551615")]
        {
            assert_eq!(dollars(amount), expected);
        }
    }
}
