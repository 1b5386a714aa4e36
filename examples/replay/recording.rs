//! What a recording says: one action a line, in the order in which they happened.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::Complaint;
use crate::spans;

pub(crate) type Fields = Map<String, Value>;

pub(crate) struct Recording {
    pub(crate) actions: Vec<Action>,
}

/// Something that the program did with one of its spans.
pub(crate) struct Action {
    pub(crate) at: Duration,
    pub(crate) span: String,
    pub(crate) what: What,
}

pub(crate) enum What {
    Open { name: String, parent: Option<String>, fields: Fields },
    Record(Fields),
    Event { event: String, ms_ago: Option<f64> },
    Close,
}

impl Recording {
    pub(crate) fn read(file: &str) -> Result<Self, Complaint> {
        let text = fs::read_to_string(file).map_err(|error| Complaint(format!("{file}: {error}")))?;
        // The spans that are open, each with its kind.
        let mut open = HashMap::new();
        let mut actions = Vec::new();
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let action = Action::parse(line).and_then(|action| action.checked(&mut open));
            actions.push(action.map_err(|why| Complaint(format!("{file}:{}: {why}", index + 1)))?);
        }
        Ok(Self { actions })
    }

    /// Everything that takes time takes `speed` times less.
    pub(crate) fn at_speed(mut self, speed: f64) -> Result<Self, Complaint> {
        for action in &mut self.actions {
            action.at = Duration::try_from_secs_f64(action.at.as_secs_f64() / speed)
                .map_err(|_| Complaint(format!("too slow: --speed {speed}")))?;
            match &mut action.what {
                What::Open { fields, .. } => {
                    if let Some(ms) = fields.get_mut("started_ms_ago") {
                        *ms = ms.as_f64().map_or(Value::Null, |ms| (ms / speed).into());
                    }
                }
                What::Event { ms_ago: Some(ms), .. } => *ms /= speed,
                What::Event { ms_ago: None, .. } | What::Record(_) | What::Close => {}
            }
        }
        Ok(self)
    }

    /// The same program without turn spans: what happened in one happened in what it was opened in.
    pub(crate) fn without_turns(self) -> Self {
        let mut above_turn: HashMap<String, String> = HashMap::new();
        let without_turn = |mut action: Action| {
            if let What::Open { name, parent, .. } = &mut action.what {
                *parent = parent.take().map(|parent| above_turn.get(&parent).cloned().unwrap_or(parent));
                if name == "turn" {
                    above_turn.insert(action.span, parent.take().unwrap_or_default());
                    return None;
                }
            }
            match (above_turn.get(&action.span), &action.what) {
                (None, _) => Some(action),
                (Some(above), What::Event { .. }) => Some(Action { span: above.clone(), ..action }),
                (Some(_), _) => None,
            }
        };
        Self { actions: self.actions.into_iter().filter_map(without_turn).collect() }
    }

    pub(crate) fn len(&self) -> usize {
        self.actions.len()
    }

    pub(crate) fn duration(&self) -> Duration {
        self.actions.last().map_or(Duration::ZERO, |action| action.at)
    }
}

impl Action {
    fn parse(line: &str) -> Result<Self, String> {
        let mut action: Fields = serde_json::from_str(line).map_err(|error| error.to_string())?;
        let at = action.get("t").and_then(Value::as_f64).ok_or("no time `t`")?;
        let at = Duration::try_from_secs_f64(at).map_err(|error| format!("`t`: {error}"))?;
        let fields = match action.remove("fields") {
            None => Fields::new(),
            Some(Value::Object(fields)) => fields,
            Some(_) => return Err("`fields` is no object".into()),
        };
        let text = |key: &str| action.get(key).and_then(Value::as_str).map(str::to_owned);
        let needed = |key: &str| text(key).ok_or_else(|| format!("no text `{key}`"));
        let what = match needed("do")?.as_str() {
            "open" => What::Open { name: needed("name")?, parent: text("parent"), fields },
            "record" => What::Record(fields),
            "event" => What::Event { event: needed("event")?, ms_ago: fields.get("ms_ago").and_then(Value::as_f64) },
            "close" => What::Close,
            other => return Err(format!("can't do {other:?}")),
        };
        Ok(Self { at, span: needed("span")?, what })
    }

    /// Whether it can be done, with the spans that are open before and after it.
    fn checked(self, open: &mut HashMap<String, String>) -> Result<Self, String> {
        let is_known = open.get(&self.span);
        match (&self.what, is_known) {
            (What::Open { .. }, Some(_)) => return Err(format!("{} is open already", self.span)),
            (What::Open { name, parent, fields }, None) => {
                if let Some(parent) = parent.as_ref().filter(|parent| !open.contains_key(*parent)) {
                    return Err(format!("{parent} is not open"));
                }
                spans::check(name, fields)?;
                open.insert(self.span.clone(), name.clone());
            }
            (_, None) => return Err(format!("{} is not open", self.span)),
            (What::Record(fields), Some(name)) => spans::check(name, fields)?,
            (What::Event { .. }, Some(_)) => {}
            (What::Close, Some(_)) => {
                open.remove(&self.span);
            }
        }
        Ok(self)
    }
}
