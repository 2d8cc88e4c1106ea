//! Converts numbers between JSON text and WIT types exactly. No integer passes through a double.

use wasmtime::component::Val;

use super::shape::{Int, Kind};

/// Doubles represent every integer up to this one.
pub(super) const EXACT: i128 = (1 << 53) - 1;

const NAN: &str = "\"NaN\"";
const INFINITY: &str = "\"Infinity\"";
const MINUS_INFINITY: &str = "\"-Infinity\"";

/// Parses a number. `None` if it is not of this kind or out of range.
pub(super) fn read(kind: &Kind, json: &str) -> Option<Val> {
    match kind {
        Kind::Int(int) => integer(json, int.is_wide()).and_then(|value| make(*int, value)),
        Kind::Float32 => {
            let value: f32 = float(json)?;
            // A value too large for 32 bits would become infinite.
            (value.is_finite() || json.starts_with('"')).then_some(Val::Float32(value))
        }
        Kind::Float64 => {
            let value: f64 = float(json)?;
            (value.is_finite() || json.starts_with('"')).then_some(Val::Float64(value))
        }
        _ => None,
    }
}

fn integer(json: &str, digits_in_text: bool) -> Option<i128> {
    if let Some(text) = json.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        let plain = text.strip_prefix('-').unwrap_or(text);
        let is_plain = !plain.is_empty() && plain.len() <= 20 && plain.bytes().all(|b| b.is_ascii_digit());
        return (digits_in_text && is_plain).then(|| text.parse().ok()).flatten();
    }
    if let Ok(value) = json.parse::<i128>() {
        return Some(value);
    }
    // JSON Schema treats `5.0` and `1e3` as integers.
    let value: f64 = is_number(json).then(|| json.parse().ok()).flatten()?;
    (value.fract() == 0.0 && value.abs() <= EXACT as f64).then_some(value as i128)
}

fn float<F: std::str::FromStr>(json: &str) -> Option<F> {
    match json {
        NAN => "NaN".parse().ok(),
        INFINITY => "inf".parse().ok(),
        MINUS_INFINITY => "-inf".parse().ok(),
        _ => is_number(json).then(|| json.parse().ok()).flatten(),
    }
}

fn is_number(json: &str) -> bool {
    json.starts_with(|c: char| c == '-' || c.is_ascii_digit())
}

fn make(int: Int, value: i128) -> Option<Val> {
    Some(match int {
        Int::S8 => Val::S8(value.try_into().ok()?),
        Int::U8 => Val::U8(value.try_into().ok()?),
        Int::S16 => Val::S16(value.try_into().ok()?),
        Int::U16 => Val::U16(value.try_into().ok()?),
        Int::S32 => Val::S32(value.try_into().ok()?),
        Int::U32 => Val::U32(value.try_into().ok()?),
        Int::S64 => Val::S64(value.try_into().ok()?),
        Int::U64 => Val::U64(value.try_into().ok()?),
    })
}

/// A number as JSON. `None` if the value is not a number.
pub(super) fn write(value: &Val) -> Option<String> {
    let wide = |value: i128| if value.abs() <= EXACT { value.to_string() } else { format!("\"{value}\"") };
    Some(match value {
        Val::S8(v) => v.to_string(),
        Val::U8(v) => v.to_string(),
        Val::S16(v) => v.to_string(),
        Val::U16(v) => v.to_string(),
        Val::S32(v) => v.to_string(),
        Val::U32(v) => v.to_string(),
        Val::S64(v) => wide((*v).into()),
        Val::U64(v) => wide((*v).into()),
        Val::Float32(v) if v.is_finite() => serde_json::to_string(v).ok()?,
        Val::Float64(v) if v.is_finite() => serde_json::to_string(v).ok()?,
        Val::Float32(v) => odd((*v).into()).to_owned(),
        Val::Float64(v) => odd(*v).to_owned(),
        _ => return None,
    })
}

fn odd(value: f64) -> &'static str {
    if value.is_nan() {
        NAN
    } else if value > 0.0 {
        INFINITY
    } else {
        MINUS_INFINITY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_exactly_or_not_at_all() {
        let int = |int| Kind::Int(int);
        for (kind, json, expected) in [
            (int(Int::U8), "255", Some(Val::U8(255))),
            (int(Int::U8), "256", None),
            (int(Int::U8), "-1", None),
            (int(Int::U8), "5.0", Some(Val::U8(5))),
            (int(Int::U8), "5.5", None),
            (int(Int::U8), "\"5\"", None),
            (int(Int::U32), "1e3", Some(Val::U32(1000))),
            (int(Int::U64), "18446744073709551615", Some(Val::U64(u64::MAX))),
            (int(Int::U64), "\"18446744073709551615\"", Some(Val::U64(u64::MAX))),
            (int(Int::U64), "18446744073709551616", None),
            (int(Int::U64), "1e17", None),
            (int(Int::U64), "\"+1\"", None),
            (int(Int::U64), "\"\"", None),
            (int(Int::S64), "\"-9223372036854775808\"", Some(Val::S64(i64::MIN))),
            (int(Int::S64), "null", None),
            (Kind::Float64, "0.1", Some(Val::Float64(0.1))),
            (Kind::Float64, "1e400", None),
            (Kind::Float64, "\"NaN\"", Some(Val::Float64(f64::NAN))),
            (Kind::Float64, "\"-Infinity\"", Some(Val::Float64(f64::NEG_INFINITY))),
            (Kind::Float64, "\"inf\"", None),
            (Kind::Float32, "3.5e38", None),
            (Kind::Float32, "0.1", Some(Val::Float32(0.1))),
        ] {
            assert_eq!(read(&kind, json), expected, "{kind:?} {json}");
        }
    }
}
