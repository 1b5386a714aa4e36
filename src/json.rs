//! What does a JSON text hold?

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Number;

/// A JSON value whose objects keep their order: people compare what they sent with what they see.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(untagged)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Json>),
    Object(Object),
}

pub(crate) type Object = IndexMap<String, Json>;

impl Json {
    /// The object or the list that a text is; anything else is a text to us, whatever JSON makes of it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if !text.trim_start().starts_with(['{', '[']) {
            return None;
        }
        serde_json::from_str(text).ok()
    }

    /// The object or the list that a text is, or the text.
    pub(crate) fn of_text(text: String) -> Self {
        Self::parse(&text).unwrap_or(Self::Text(text))
    }

    /// Compact JSON.
    pub(crate) fn to_compact(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// What an object has under this key.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Object(object) => object.get(key),
            _ => None,
        }
    }

    /// What an object has under the first of these keys that it has.
    pub(crate) fn get_any(&self, keys: &[&str]) -> Option<&Self> {
        keys.iter().find_map(|key| self.get(key))
    }

    /// The text that an object has under this key.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_text()
    }

    pub(crate) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn as_list(&self) -> Option<&[Self]> {
        match self {
            Self::List(list) => Some(list),
            _ => None,
        }
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Json {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Vec<Self>> for Json {
    fn from(list: Vec<Self>) -> Self {
        Self::List(list)
    }
}

impl From<usize> for Json {
    fn from(number: usize) -> Self {
        Self::Number(number.into())
    }
}

/// An object of these, in this order; what is `None` is left out.
pub(crate) fn object<const N: usize>(entries: [(&str, Option<Json>); N]) -> Json {
    Json::Object(entries.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect())
}

#[cfg(test)]
mod tests {
    use super::Json;

    #[test]
    fn an_object_keeps_its_order() {
        let text = r#"{"role":"user","content":[{"type":"text","b":1,"a":-2.5}],"z":null,"y":true}"#;
        assert_eq!(Json::parse(text).unwrap().to_compact(), text);
    }

    #[test]
    fn only_objects_and_lists_are_json() {
        for text in ["", "42", "\"text\"", "null", "{broken", "[1,", "It is noon."] {
            assert_eq!(Json::parse(text), None, "{text}");
        }
        let deep = "[".repeat(100_000);
        assert_eq!(Json::parse(&deep), None);
    }
}
