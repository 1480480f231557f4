//! "Did you mean …?"

/// From this likeness on (Jaro-Winkler, 0 to 1) a name is taken for a slip of the other.
const LIKELY: f64 = 0.8;

/// The one among `known` that `name` was probably meant to be.
pub fn likely<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Nobody mistypes a name of a thousand letters.
    let name: String = name.chars().take(100).collect::<String>().to_ascii_lowercase();
    let likeness = |known: &str| strsim::jaro_winkler(&name, &known.to_ascii_lowercase());
    let best = known.map(|known| (likeness(known), known)).max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(likeness, _)| *likeness >= LIKELY).map(|(_, known)| known)
}

/// What to say of a name that isn't among `known`: the likely one, or all of them.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    match likely(name, known.clone()) {
        Some(known) => format!("did you mean `{known}`?"),
        None => {
            let mut all: Vec<String> = known.map(|known| format!("`{known}`")).collect();
            all.dedup();
            format!("known are {}", all.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_others_get_the_list() {
        let known = ["endpoint", "port", "certificate", "private_key", "root_ca"];
        for (slip, meant) in [
            ("certifcate", "certificate"),
            ("cert", "certificate"),
            ("privateKey", "private_key"),
            ("rootca", "root_ca"),
            ("Endpoint", "endpoint"),
        ] {
            assert_eq!(nearest(slip, known.into_iter()), format!("did you mean `{meant}`?"));
        }
        assert!(nearest("zzz", known.into_iter()).starts_with("known are `endpoint`, "));
    }
}
