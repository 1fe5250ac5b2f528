//! Numbers in words for people.

/// A duration to the precision that an estimate has: "40 s", "3 min", "1 h 20 min".
pub fn duration(seconds: f64) -> String {
    let seconds = if seconds.is_finite() { seconds.max(0.0) } else { 0.0 };
    let minutes = (seconds / 60.0).round();
    if seconds < 100.0 {
        format!("{seconds:.0} s")
    } else if minutes < 100.0 {
        format!("{minutes:.0} min")
    } else {
        format!("{:.0} h {:02.0} min", (minutes / 60.0).floor(), minutes % 60.0)
    }
}

/// Bytes as binary gigabytes or megabytes.
pub fn bytes(bytes: u64) -> String {
    let bytes = bytes as f64;
    let (gib, mib) = (f64::from(1_u32 << 30), f64::from(1_u32 << 20));
    if bytes >= gib { format!("{:.1} GiB", bytes / gib) } else { format!("{:.1} MiB", bytes / mib) }
}

/// A path or name as one word of a shell command.
pub fn shell(word: impl AsRef<std::ffi::OsStr>) -> String {
    let word = word.as_ref().to_string_lossy();
    let plain = |c: char| c.is_alphanumeric() || "/._-+=:,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.into_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let cases = [(0.4, "0 s"), (99.0, "99 s"), (100.0, "2 min"), (5400.0, "90 min"), (6000.0, "1 h 40 min")];
        for (seconds, words) in cases {
            assert_eq!(duration(seconds), words);
        }
        assert_eq!(duration(f64::NAN), "0 s");
    }

    #[test]
    fn sizes() {
        assert_eq!(bytes(3 << 29), "1.5 GiB");
        assert_eq!(bytes(1 << 19), "0.5 MiB");
    }

    #[test]
    fn words_of_a_shell_command() {
        assert_eq!(shell("runs/a-1"), "runs/a-1");
        assert_eq!(shell("my run"), "'my run'");
        assert_eq!(shell("it's"), r"'it'\''s'");
    }
}
