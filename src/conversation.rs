//! Where does it hang, what does it inherit?

use std::sync::Arc;

use opentelemetry::Value;

use crate::fields::Fields;
use crate::semconv::is_inherited;

/// What the spans below take over: ids, the agent's name, the turn's number. Shared by all who add nothing to it.
pub(crate) type Inherited = Arc<[(&'static str, Value)]>;

/// What the children of a span inherit: what it inherited itself, replaced by what its own fields give.
pub(crate) fn passed_on(inherited: &Inherited, fields: &Fields) -> Inherited {
    let mut own = fields.given(is_inherited).peekable();
    if own.peek().is_none() {
        return inherited.clone();
    }
    let mut all = inherited.to_vec();
    for (key, value) in own {
        all.retain(|(other, _)| *other != key);
        all.push((key, value.clone()));
    }
    all.into()
}

/// Gives a span what it inherits, where its own fields say nothing.
pub(crate) fn take_over(fields: &mut Fields, inherited: &Inherited) {
    for (key, value) in inherited.iter() {
        fields.assume(key, value.clone());
    }
}
