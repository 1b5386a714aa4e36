//! Which rule says where a span hangs?

/// What a new span finds.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "they are what the rules ask, one by one")]
pub(crate) struct Found<'a> {
    /// Its explicit parent is exported, or hangs below an exported span.
    pub(crate) explicit: bool,
    /// There is a contextual ancestor that is exported.
    pub(crate) contextual: bool,
    /// The conversation of that ancestor, if it has an id.
    pub(crate) contextual_id: Option<&'a str>,
    /// The conversation that it names itself.
    pub(crate) id: Option<&'a str>,
    /// Whether that conversation is live.
    pub(crate) live: bool,
    /// `parent: None`.
    pub(crate) root: bool,
}

/// Where it hangs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// On its nearest exported ancestor, explicit or contextual.
    Ancestor,
    /// In the live conversation that it names.
    Conversation,
    /// On the attached OpenTelemetry context.
    Attached,
    /// On nothing.
    Root,
}

/// The first rule that matches: the explicit parent; an id that is not the contextual conversation's; the contextual
/// ancestor; the id; the attached context; nothing.
pub(crate) fn place(found: Found<'_>) -> Place {
    let names_another = match (found.id, found.contextual_id) {
        (Some(id), Some(contextual)) => id != contextual,
        // An ancestor that has no id may be the conversation that is meant, unless a live one has it.
        (Some(_), None) => found.contextual && found.live,
        (None, _) => false,
    };
    let by_id = || if found.live { Place::Conversation } else { Place::Root };
    if found.explicit {
        Place::Ancestor
    } else if names_another {
        by_id()
    } else if found.contextual {
        Place::Ancestor
    } else if found.live {
        Place::Conversation
    } else if found.root {
        Place::Root
    } else {
        Place::Attached
    }
}

#[cfg(test)]
mod tests {
    use super::{Found, Place, place};

    #[test]
    fn the_first_rule_that_matches_counts() {
        let nothing = Found::default();
        let explicit = Found { explicit: true, ..nothing };
        let contextual = Found { contextual: true, contextual_id: Some("a"), ..nothing };
        let anonymous = Found { contextual: true, ..nothing };
        for (found, expected) in [
            (explicit, Place::Ancestor),
            (Found { id: Some("b"), live: true, ..explicit }, Place::Ancestor),
            (contextual, Place::Ancestor),
            (Found { id: Some("a"), live: true, ..contextual }, Place::Ancestor),
            (Found { id: Some("b"), live: true, ..contextual }, Place::Conversation),
            (Found { id: Some("b"), ..contextual }, Place::Root),
            (Found { id: Some("b"), ..anonymous }, Place::Ancestor),
            (Found { id: Some("b"), live: true, ..anonymous }, Place::Conversation),
            (Found { id: Some("b"), live: true, ..nothing }, Place::Conversation),
            (Found { id: Some("b"), live: true, root: true, ..nothing }, Place::Conversation),
            (Found { id: Some("b"), ..nothing }, Place::Attached),
            (Found { root: true, ..nothing }, Place::Root),
            (nothing, Place::Attached),
        ] {
            assert_eq!(place(found), expected, "{found:?}");
        }
    }
}
