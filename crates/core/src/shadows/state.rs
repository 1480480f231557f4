//! `desired`, `reported` and what differs, as JSON objects; what the service does with them.

use serde_json::{Map, Number, Value};

/// `desired`, `reported`, a delta, or an update of one of them.
pub type State = Map<String, Value>;

/// Takes out of `state` what the service does not store: `null`, and objects with nothing in them. Arrays stay as they are.
pub(super) fn prune(state: &mut State) {
    state.retain(|_, value| match value {
        Value::Null => false,
        Value::Object(object) => {
            prune(object);
            !object.is_empty()
        }
        _ => true,
    });
}

/// What an update has to say so that `held` becomes `wanted`, which is [pruned](prune). Empty if they are the same.
pub(super) fn diff(held: &State, wanted: &State) -> State {
    let mut update = State::new();
    for (key, value) in wanted {
        match (held.get(key), value) {
            (Some(Value::Object(before)), Value::Object(after)) => {
                let inner = diff(before, after);
                if !inner.is_empty() {
                    update.insert(key.clone(), Value::Object(inner));
                }
            }
            (Some(before), after) if is_same(before, after) => {}
            _ => _ = update.insert(key.clone(), value.clone()),
        }
    }
    for key in held.keys().filter(|key| !wanted.contains_key(*key)) {
        update.insert(key.clone(), Value::Null);
    }
    update
}

/// An update that removes whatever is in `state`, and leaves what stands beside it.
pub(super) fn removal(state: &State) -> State {
    let remove = |value: &Value| match value {
        Value::Object(object) if !object.is_empty() => Value::Object(removal(object)),
        _ => Value::Null,
    };
    state.iter().map(|(key, value)| (key.clone(), remove(value))).collect()
}

/// Whether all that `part` has is in `whole`, arrays as a whole.
pub(crate) fn is_part_of(part: &State, whole: &State) -> bool {
    part.iter().all(|(key, value)| match (value, whole.get(key)) {
        (Value::Object(part), Some(Value::Object(whole))) => is_part_of(part, whole),
        (value, Some(whole)) => value == whole,
        (_, None) => false,
    })
}

/// Whether the two say the same.
pub(super) fn is_same_state(one: &State, other: &State) -> bool {
    let is_in_other = |(key, value): (&String, &Value)| other.get(key).is_some_and(|other| is_same(value, other));
    one.len() == other.len() && one.iter().all(is_in_other)
}

fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => is_same_number(one, other),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => is_same_state(one, other),
        _ => one == other,
    }
}

/// A number may come back written in another way (`1` for `1.0`), and reading its digits may be off by a bit.
fn is_same_number(one: &Number, other: &Number) -> bool {
    if one == other {
        return true;
    }
    match (one.as_f64(), other.as_f64()) {
        (Some(a), Some(b)) if one.is_f64() || other.is_f64() => (a - b).abs() <= 2.0 * f64::EPSILON * a.abs(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn state(value: Value) -> State {
        serde_json::from_value(value).unwrap()
    }

    /// Objects are compared key by key, arrays as a whole, and what is gone is null.
    #[test]
    fn a_difference_has_what_is_new_and_null_for_what_is_gone() {
        let held = state(json!({"a": 1, "b": {"c": [1, 2], "d": true}, "e": {"f": 1}, "g": 2.0, "h": "x"}));
        let wanted = state(json!({"a": 1, "b": {"c": [1, 3], "d": true}, "e": 5, "g": 2, "i": {"j": 0}}));
        assert_eq!(diff(&held, &wanted), state(json!({"b": {"c": [1, 3]}, "e": 5, "h": null, "i": {"j": 0}})));
        assert!(diff(&held, &held).is_empty());
    }

    /// What the service can't store is not compared either: else it would be sent with each report.
    #[test]
    fn null_and_empty_objects_count_as_missing() {
        let mut state_ = state(json!({"a": null, "b": {"c": {"d": null}}, "e": {"f": 1, "g": {}}, "h": [null, {}]}));
        prune(&mut state_);
        assert_eq!(state_, state(json!({"e": {"f": 1}, "h": [null, {}]})));
    }

    /// What is in a part has to be in the whole, at the same place; an array is more than its elements.
    #[test]
    fn a_part_is_found_in_its_whole() {
        let whole = state(json!({"a": 1, "b": {"c": [1, 2], "d": null}}));
        let is_part = |part: Value| is_part_of(&state(part), &whole);
        assert!(is_part(json!({})) && is_part(json!({"a": 1})) && is_part(json!({"b": {}})));
        assert!(
            is_part(json!({"b": {"c": [1, 2]}})) && is_part(json!({"b": {"d": null}})) && is_part(whole.clone().into())
        );
        assert!(!is_part(json!({"a": 2})) && !is_part(json!({"b": {"c": [1]}})) && !is_part(json!({"b": 1})));
        assert!(!is_part(json!({"c": [1, 2]})) && !is_part(json!({"e": null})) && !is_part(json!({"a": {}})));
    }

    #[test]
    fn a_removal_names_the_leaves() {
        assert_eq!(
            removal(&state(json!({"a": {"b": 1, "c": []}, "d": {}}))),
            state(json!({"a": {"b": null, "c": null}, "d": null}))
        );
    }

    /// 0.1 and 0.2 make no 0.3, but whole numbers are exact however large they are.
    #[test]
    fn numbers_are_the_same_however_they_are_written() {
        let same = |one, other| is_same(&one, &other);
        assert!(same(json!(1), json!(1.0)) && same(json!(0.1 + 0.2), json!(0.3)) && same(json!(0), json!(-0.0)));
        assert!(!same(json!(1), json!(1.000_001)) && !same(json!(1e-300), json!(0)));
        assert!(!same(json!(9_007_199_254_740_993_u64), json!(9_007_199_254_740_992_u64)));
        assert!(!same(json!(1), json!("1")) && !same(json!([1]), json!([1, 1])));
    }
}
