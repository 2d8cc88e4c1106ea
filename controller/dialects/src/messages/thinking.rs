//! Writes how much the model is to think. Anthropic's models take thinking with few other fields; a request that this provider
//! would refuse is refused here, with the names of both fields, so that another model of an alias can answer it.

use crate::error::Refused;
use crate::json::Object;
use crate::messages::write::left_out;
use crate::request::{
    Body, Field, Format, MIN_BUDGET, Message, Part, Request, Role, Target, Thinking, ToolChoice, budget_of, nearest,
};

/// Least `top_p` that the provider takes with thinking.
const MIN_TOP_P: f64 = 0.95;

/// Writes `thinking` and `output_config`.
pub(super) fn write(
    o: &mut Object<'_>,
    request: &Request,
    target: &Target<'_>,
    max_tokens: u64,
) -> Result<(), Refused> {
    let (mode, effort) = plan(request, target, max_tokens)?;
    if let Some(mode) = mode {
        if mode != Thinking::Off {
            conflicts(request)?;
        }
        o.object("thinking", |o| {
            match mode {
                Thinking::Off => o.string("type", "disabled"),
                Thinking::Adaptive => o.string("type", "adaptive"),
                Thinking::Budget(tokens) => {
                    o.string("type", "enabled");
                    o.number("budget_tokens", tokens);
                }
            }
            match request.reasoning.summary.as_deref() {
                Some("omitted") if mode != Thinking::Off => o.string("display", "omitted"),
                Some(_) if mode != Thinking::Off => o.string("display", "summarized"),
                _ => {}
            }
        });
    }
    let schema = match &request.format {
        Some(Format::Schema { schema, .. }) => Some(schema),
        _ => None,
    };
    if effort.is_some() || schema.is_some() {
        o.object("output_config", |o| {
            if let Some(effort) = effort {
                o.string("effort", effort);
            }
            if let Some(schema) = schema {
                o.object("format", |o| {
                    o.string("type", "json_schema");
                    o.raw("schema", schema);
                });
            }
        });
    }
    Ok(())
}

/// The thinking and the effort that the caller's wish stands for.
fn plan(
    request: &Request,
    target: &Target<'_>,
    max_tokens: u64,
) -> Result<(Option<Thinking>, Option<&'static str>), Refused> {
    let reasoning = &request.reasoning;
    // The least that there is: no thinking, or the lowest effort.
    let wish = match reasoning.effort.as_deref() {
        Some("minimal") => Some("low"),
        effort => effort,
    };
    if wish == Some("none") || reasoning.mode == Some(Thinking::Off) {
        return Ok((target.reasons.then_some(Thinking::Off), None));
    }
    if !target.reasons {
        if wish.is_some() || reasoning.mode.is_some() {
            return Err(Refused::new(request.field(Field::Effort), "this model does not reason"));
        }
        // A summary of no thinking is none.
        return Ok((None, None));
    }
    let effort = wish.and_then(|wish| nearest(wish, target.efforts));
    if let Some(mode) = reasoning.mode {
        return Ok((Some(mode), effort));
    }
    // A wish for a summary alone asks for thinking, as much as is usual.
    let Some(wish) = wish.or(reasoning.summary.is_some().then_some("medium")) else { return Ok((None, None)) };
    if !target.budgets {
        return Ok((Some(Thinking::Adaptive), effort));
    }
    // These models take thinking in a loop of tools only with the thinking that led to it.
    if in_loop_without_thinking(request) {
        return Ok((None, None));
    }
    // The budget has to leave room for the answer.
    let tokens = budget_of(wish).min(max_tokens / 2).max(MIN_BUDGET);
    if tokens >= max_tokens {
        let mut fields = request.field(Field::Effort).to_owned();
        if request.max_tokens.is_some() {
            fields = format!("{fields}, {}", request.field(Field::Limit));
        }
        let why = format!("this model thinks only with a limit of more than {MIN_BUDGET} tokens");
        return Err(Refused::new(fields, why));
    }
    Ok((Some(Thinking::Budget(tokens)), None))
}

/// Refuses what the provider refuses together with thinking.
fn conflicts(request: &Request) -> Result<(), Refused> {
    let refuse = |field: &str, why: &str| {
        let fields = format!("{}, {field}", request.field(Field::Effort));
        Err(Refused::new(fields, format!("cannot be said together for this model: {why}")))
    };
    let forced = matches!(request.tool_choice, Some(ToolChoice::Required | ToolChoice::Named(_)));
    if forced && !request.tools.is_empty() {
        return refuse("tool_choice", "when it thinks, the choice may only be auto or none");
    }
    let number = |raw: &serde_json::value::RawValue| serde_json::from_str::<f64>(raw.get()).unwrap_or_default();
    let sampling = &request.sampling;
    if sampling.temperature.as_ref().is_some_and(|raw| number(raw) != 1.0) {
        return refuse("temperature", "when it thinks, the temperature may only be 1");
    }
    if sampling.top_p.as_ref().is_some_and(|raw| number(raw) < MIN_TOP_P) {
        return refuse("top_p", "when it thinks, this may be 0.95 to 1");
    }
    if sampling.top_k.is_some() {
        return refuse("top_k", "when it thinks, there may be none");
    }
    Ok(())
}

/// The conversation ends with results of calls whose thinking did not come back.
fn in_loop_without_thinking(request: &Request) -> bool {
    let ends_with_results = request.messages.last().is_some_and(Message::holds_results);
    let signed = |part: &Part| matches!(&part.body, Body::Thinking { .. }) && !left_out(part);
    let calls = request.messages.iter().rfind(|message| message.role == Role::Assistant);
    ends_with_results && calls.is_some_and(|message| !message.parts.iter().any(signed))
}
