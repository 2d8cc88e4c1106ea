//! Parses the settings of uploads.

use std::time::Duration;

use cofferdam_core::{ConfigError, Source};
use cofferdam_uploads::UploadsConfig;

use super::ConfigFile;

pub(super) fn parse(source: &Source<'_>, file: &ConfigFile) -> Result<UploadsConfig, ConfigError> {
    let file = &file.uploads;
    let number = |name: &str, file, default| source.number(name, file, default);
    let seconds = |name: &str, file, default| number(name, file, default).map(Duration::from_secs);
    let count =
        |name: &str, file, default| number(name, file, default).map(|n| usize::try_from(n).unwrap_or(usize::MAX));
    let public_url = source.text("COFFERDAM_PUBLIC_URL").or_else(|| file.public_url.clone());
    Ok(UploadsConfig {
        max_image_bytes: number("COFFERDAM_MAX_IMAGE_BYTES", file.max_image_bytes, 32 << 30)?,
        max: count("COFFERDAM_MAX_UPLOADS", file.max, 8)?,
        max_per_organization: count("COFFERDAM_MAX_UPLOADS_PER_ORGANIZATION", file.max_per_organization, 4)?,
        idle: seconds("COFFERDAM_UPLOAD_IDLE_S", file.idle_s, 60)?,
        wait: seconds("COFFERDAM_UPLOAD_WAIT_S", file.wait_s, 600)?,
        whole: seconds("COFFERDAM_UPLOAD_MAX_S", file.max_s, 12 * 3_600)?,
        public_url: public_url.map(|text| address(&text)).transpose()?,
    })
}

/// An address without a slash at its end.
fn address(text: &str) -> Result<String, ConfigError> {
    let text = text.trim().trim_end_matches('/');
    let invalid =
        || ConfigError::value("COFFERDAM_PUBLIC_URL", format!("{text:?} is not http(s)://HOST[:PORT][/PATH]"));
    let url = url::Url::parse(text).map_err(|_| invalid())?;
    let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    let whole = plain && url.fragment().is_none() && url.has_host();
    if matches!(url.scheme(), "http" | "https") && whole { Ok(text.to_owned()) } else { Err(invalid()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_address_is_an_address() {
        for good in ["https://api.example.com", "http://10.0.0.1:8080/", "https://x.example/cofferdam/"] {
            assert_eq!(address(good).unwrap(), good.trim_end_matches('/'));
        }
        for bad in ["", "api.example.com", "ftp://x", "https://u:p@x", "https://x/?q", "https://x/#a", "https://"] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }
}
