//! Which fields may leave the process, and in which form?
//!
//! Every field does, under its attribute's name or its own, unless the user wants those of the contract alone. Ids leave as
//! they are, or as a keyed hash.

use std::borrow::Cow;
use std::fmt;
use std::sync::LazyLock;

use hmac::digest::Key as MacKey;
use hmac::{Hmac, Mac};
use opentelemetry::{KeyValue, Value};
use rustc_hash::FxHashSet;
use sha2::Sha256;

use crate::content::is_content;
use crate::mapping;
use crate::semconv::{CLASSES, ID_NAMES, IDS};

/// What a user lets leave.
#[derive(Debug, Default)]
pub(crate) struct Policy {
    /// Whether content leaves.
    pub(crate) content: bool,
    /// The only names that leave besides the contract's; `None` lets every name leave.
    pub(crate) known: Option<FxHashSet<String>>,
    /// The key of the ids' hashes; without one they leave as they are.
    pub(crate) ids: Option<IdKey>,
}

impl Policy {
    /// Whether only names that somebody vouches for leave.
    #[inline]
    pub(crate) fn is_strict(&self) -> bool {
        self.known.is_some()
    }

    /// Whether an attribute of this name may leave, that is no content.
    #[inline]
    pub(crate) fn admits(&self, name: &str) -> bool {
        self.known.as_ref().is_none_or(|known| known.contains(name) || is_spelled_out(name))
    }

    /// The value of an attribute, as it may leave.
    #[inline]
    pub(crate) fn value(&self, name: &str, value: Value) -> Value {
        match &self.ids {
            Some(key) if is_id(name) => key.hashed(value),
            _ => value,
        }
    }

    /// An id, as it may leave.
    pub(crate) fn id<'a>(&self, id: &'a str) -> Cow<'a, str> {
        match &self.ids {
            Some(key) if !id.is_empty() => key.hash(id).into(),
            _ => id.into(),
        }
    }

    /// Whether a field of an event may leave.
    pub(crate) fn admits_on_event(&self, attribute: &KeyValue) -> bool {
        let name = attribute.key.as_str();
        let is_number = || matches!(attribute.value, Value::I64(_) | Value::F64(_));
        self.admits(name)
            || matches!(name, "error" | "error_type")
            || (matches!(name, "ms_ago" | "attempt") && is_number())
            || is_id(name)
    }

    /// An attribute of a span that is not ours and passes as it is otherwise; `None` if it may not leave.
    pub(crate) fn passed(&self, attribute: KeyValue) -> Option<KeyValue> {
        let name = attribute.key.as_str();
        let leaves = !self.is_strict() || (self.admits(name) && (self.content || !is_content(name)));
        if !leaves {
            return None;
        }
        let value = self.value(name, attribute.value);
        Some(KeyValue::new(attribute.key, value))
    }
}

/// The key of the hashes that ids leave as.
#[derive(Clone)]
pub(crate) struct IdKey(Hmac<Sha256>);

/// Bytes of a hash that are exported: half of them, which no two ids share.
const HASH_LEN: usize = 16;

impl IdKey {
    pub(crate) fn new(key: &[u8]) -> Self {
        // A key of any length is one, so nothing else ever happens.
        Self(Hmac::new_from_slice(key).unwrap_or_else(|_| Hmac::new(&MacKey::<Hmac<Sha256>>::default())))
    }

    fn hash(&self, id: &str) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mac = self.0.clone().chain_update(id).finalize().into_bytes();
        let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).map_or('0', |digit| char::from(*digit));
        mac.iter().take(HASH_LEN).flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
    }

    fn hashed(&self, id: Value) -> Value {
        match &id {
            Value::Bool(_) => id,
            other if other.as_str().is_empty() => id,
            other => self.hash(&other.as_str()).into(),
        }
    }
}

/// The key is a secret.
impl fmt::Debug for IdKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdKey")
    }
}

/// Whether a field of this name holds the id of a conversation, a session or a user, on whatever span or event.
pub(crate) fn is_id(name: &str) -> bool {
    mapping::keys_of(name).any(|key| IDS.has(key)) || ID_NAMES.contains(&name)
}

/// Whether it is an attribute of the contract, and not a word that a program may use for something else.
fn is_spelled_out(name: &str) -> bool {
    static NAMES: LazyLock<FxHashSet<&str>> =
        LazyLock::new(|| CLASSES.iter().map(|(name, _)| *name).filter(|name| name.contains('.')).collect());
    NAMES.contains(name)
}

#[cfg(test)]
mod tests {
    use super::{IdKey, Policy};
    use opentelemetry::{KeyValue, Value};

    fn strict() -> Policy {
        Policy { known: Some(["campaign".to_owned()].into_iter().collect()), ..Policy::default() }
    }

    fn hashing(key: &str) -> Policy {
        Policy { ids: Some(IdKey::new(key.as_bytes())), ..Policy::default() }
    }

    /// RFC 4231, test case 2.
    #[test]
    fn an_id_is_half_of_a_well_known_hash() {
        let hash = hashing("Jefe").id("what do ya want for nothing?").into_owned();
        assert_eq!(hash, "5bdcc146bf60754e6a042426089575c7");
        assert_eq!(hashing("Jefe").id(""), "", "nothing says nothing");
        assert_eq!(Policy::default().id("u-1"), "u-1");
        assert_ne!(hashing("").id("u-1"), "u-1");
    }

    #[test]
    fn an_id_is_known_by_each_of_its_names() {
        let hashed = hashing("key").id("7").into_owned();
        for name in ["user_id", "user", "user.id", "session_id", "session", "conversation", "thread_id", "enduser.id"]
            .into_iter()
            .chain(["langfuse.user.id", "langfuse.session.id", "conversation.id", "gen_ai.conversation.id"])
        {
            for value in [Value::from("7"), Value::I64(7)] {
                assert_eq!(hashing("key").value(name, value), Value::from(hashed.clone()), "{name}");
            }
        }
        assert_eq!(hashing("key").value("model", "7".into()), Value::from("7"));
        assert_eq!(hashing("key").value("user", true.into()), Value::Bool(true));
    }

    #[test]
    fn a_strict_policy_admits_what_is_named() {
        for (name, admitted) in [
            ("campaign", true),
            ("gen_ai.request.model", true),
            ("langfuse.session.id", true),
            ("plan", false),
            ("language", false),
            ("gen_ai.made_up", false),
            ("code.file.path", false),
        ] {
            assert_eq!(strict().admits(name), admitted, "{name}");
            assert!(Policy::default().admits(name));
        }
        assert!(strict().admits_on_event(&KeyValue::new("ms_ago", 5)));
        assert!(!strict().admits_on_event(&KeyValue::new("ms_ago", "what was said")));
        assert!(strict().passed(KeyValue::new("gen_ai.input.messages", "noon")).is_none(), "content");
    }

    #[test]
    fn the_key_is_not_shown() {
        assert_eq!(format!("{:?}", IdKey::new(b"secret")), "IdKey");
    }
}
