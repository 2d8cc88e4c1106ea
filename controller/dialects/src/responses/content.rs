//! The parts of a response's items, from their list or text into the neutral form.

use serde_json::value::RawValue;

use crate::chat::content::{cache, parts_by, source};
use crate::error::Refused;
use crate::fields::{Fields, Item};
use crate::request::{Body, Part, Source};
use crate::rules::data_url;

pub(crate) fn parts(at: &str, raw: &RawValue) -> Result<(Vec<Part>, bool), Refused> {
    parts_by(at, raw, part)
}

fn part(item: Item<'_>) -> Result<Part, Refused> {
    let mut fields = Fields::read(item.at.clone(), item.raw)?;
    let kind = fields.need_string("type")?;
    let body = match kind.as_ref() {
        "input_text" => Body::Text(fields.need_string("text")?.into_owned()),
        "output_text" => {
            // Citations, probabilities and the client library's own reading of an earlier answer say nothing to a model.
            fields.leave_out(&["annotations", "logprobs", "parsed"]);
            Body::Text(fields.need_string("text")?.into_owned())
        }
        "refusal" => Body::Refusal(fields.need_string("refusal")?.into_owned()),
        "input_image" => Body::Image {
            source: source(&fields.need_string("image_url")?),
            detail: fields.string("detail")?.map(Into::into),
        },
        "input_file" => file(&mut fields)?,
        _ => return Err(Refused::new(fields.path("type"), format!("{kind:?} cannot be translated for this model"))),
    };
    let cache = cache(&mut fields)?;
    fields.finish()?;
    Ok(Part { at: item.at, cache, body })
}

fn file(fields: &mut Fields<'_>) -> Result<Body, Refused> {
    let name = fields.string("filename")?.map(Into::into);
    // How finely pages are looked at is the model's affair.
    fields.leave_out(&["detail"]);
    let source = match (fields.string("file_data")?, fields.string("file_url")?) {
        (Some(data), None) => match data_url(&data) {
            Some((media, data)) => Source::Base64 { media: media.into(), data: data.into() },
            None => return Err(Refused::new(fields.path("file_data"), "has to be a URL that begins with data:")),
        },
        (None, Some(url)) => Source::Url(url.into_owned()),
        _ => return Err(Refused::new(fields.at(), "needs either file_data or file_url for this model")),
    };
    Ok(Body::File { source, name, context: None })
}
