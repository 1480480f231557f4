//! The ROS distribution that the program was built for, beside the one that is sourced.
//!
//! Structures of rcl and of message packages are read as the headers at build time laid them out. Another distribution
//! has others of the same names.

use std::ffi::OsStr;

/// The distribution that the program was built for, like `jazzy`.
pub const BUILT_FOR: &str = env!("BUILT_FOR_ROS_DISTRO");

/// Distributions whose structures, as far as the bridge reads them, are laid out alike; each was tried in the other's
/// place.
const ALIKE: [[&str; 2]; 1] = [["jazzy", "kilted"]];

/// How the sourced distribution goes with the one that the program was built for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Distribution {
    /// It is the same.
    Same,
    /// It should work. What somebody should know of it, a sentence without its full stop.
    Doubtful(String),
    /// It has to be expected that structures are laid out otherwise.
    Other,
}

/// Compares what `ROS_DISTRO` says with what the program was built for.
pub fn sourced_distribution(ros_distro: Option<&OsStr>) -> Distribution {
    compare(BUILT_FOR, ros_distro)
}

fn compare(built_for: &str, ros_distro: Option<&OsStr>) -> Distribution {
    let sourced = ros_distro.unwrap_or_default().to_string_lossy();
    if sourced.is_empty() {
        return Distribution::Doubtful(format!(
            "ROS_DISTRO is not set: whether the ROS environment is that of {built_for}, for which this iot-bridge was \
             built, is not known"
        ));
    }
    if sourced == built_for {
        return Distribution::Same;
    }
    if ALIKE.iter().any(|alike| [built_for, &sourced].iter().all(|name| alike.contains(name))) {
        return Distribution::Doubtful(format!(
            "This iot-bridge was built for ROS 2 {built_for}, and the ROS environment is that of {sourced}: it should \
             work, because what it reads is laid out alike; better install the one for {sourced}"
        ));
    }
    Distribution::Other
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distributions_that_are_laid_out_alike_are_doubtful_and_others_refused() {
        let distribution = |built_for, sourced: &str| compare(built_for, Some(OsStr::new(sourced)));
        assert_eq!(distribution("jazzy", "jazzy"), Distribution::Same);
        assert_eq!(distribution("lyrical", "lyrical"), Distribution::Same);
        for (built_for, sourced) in [("jazzy", "kilted"), ("kilted", "jazzy")] {
            let Distribution::Doubtful(why) = distribution(built_for, sourced) else {
                panic!("{built_for}, {sourced}")
            };
            assert!(why.contains("jazzy") && why.contains("kilted"), "{why}");
        }
        for (built_for, sourced) in
            [("jazzy", "humble"), ("jazzy", "lyrical"), ("kilted", "lyrical"), ("humble", "jazzy")]
        {
            assert_eq!(distribution(built_for, sourced), Distribution::Other, "{built_for}, {sourced}");
        }
        for unset in [None, Some(OsStr::new(""))] {
            let Distribution::Doubtful(why) = compare("jazzy", unset) else { panic!("{unset:?}") };
            assert!(why.contains("ROS_DISTRO is not set") && why.contains("jazzy"), "{why}");
        }
    }
}
