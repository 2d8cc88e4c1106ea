//! The weather of a city. The service's key is a secret: this code sees a placeholder in its environment and puts it into
//! the URL; the gateway exchanges it on the way out, for the one host that the secret is bound to.

use serde_json::Value;
use waki::Client;

wit_bindgen::generate!({ world: "tool", path: "wit" });

use exports::examples::weather::weather::{Guest, Report};

struct Weather;

export!(Weather);

impl Guest for Weather {
    fn current(city: String) -> Result<Report, String> {
        let key = std::env::var("WEATHER_KEY").map_err(|_| "no WEATHER_KEY: deploy with --secret WEATHER_KEY")?;
        let response = Client::new()
            .get("https://api.openweathermap.org/data/2.5/weather")
            .query(&[("q", city.as_str()), ("units", "metric"), ("appid", key.as_str())])
            .send()
            .map_err(|e| e.to_string())?;
        let status = response.status_code();
        let body = response.body().map_err(|e| e.to_string())?;
        let answer: Value = serde_json::from_slice(&body).map_err(|e| format!("status {status}: {e}"))?;
        if status != 200 {
            return Err(format!("status {status}: {}", answer["message"].as_str().unwrap_or("no reason given")));
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(Report {
            place: format!("{}, {}", text(&answer["name"]), text(&answer["sys"]["country"])),
            sky: text(&answer["weather"][0]["description"]),
            temperature: answer["main"]["temp"].as_f64().ok_or("the answer has no temperature")?,
            humidity: answer["main"]["humidity"].as_u64().and_then(|h| u8::try_from(h).ok()).unwrap_or(0),
        })
    }
}
