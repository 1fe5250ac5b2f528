//! TOML to settings, with errors that name the line and the nearest known key.

use std::{fs, path::Path};

use serde::de::DeserializeOwned;

use super::nearest::nearest;
use crate::{Error, Result};

/// Reads settings from `text`, which came from `path`.
///
/// # Errors
/// [`Error::Parse`] with the line: no TOML, a key that nothing reads, a missing key, a value of another type.
pub fn parse<T: DeserializeOwned>(text: &str, path: &Path) -> Result<T> {
    toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(0, |span| 1 + text[..span.start.min(text.len())].matches('\n').count());
        Error::Parse { path: path.into(), line, reason: explain(error.message()) }
    })
}

/// Reads settings from the file `path`.
///
/// # Errors
/// [`Error::Io`] when it cannot be read; as [`parse`].
pub fn parse_file<T: DeserializeOwned>(path: &Path) -> Result<T> {
    parse(&fs::read_to_string(path).map_err(Error::io("read", path))?, path)
}

/// Serde's message, with its list of all names replaced by the nearest one where there is one.
pub(super) fn explain(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let what = match message {
        m if m.starts_with("unknown field") => "key",
        m if m.starts_with("unknown variant") => "value",
        _ => return message.to_string(),
    };
    let Some(word) = quoted.next() else { return message.to_string() };
    let known: Vec<&str> = quoted.collect();
    match nearest(word, known.iter().copied()) {
        Some(name) => format!("unknown {what} `{word}`; did you mean `{name}`?"),
        None if known.is_empty() => format!("unknown {what} `{word}`"),
        None => format!("unknown {what} `{word}`; known here: {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::AdamWConfig;

    fn check(text: &str, expected: &str) {
        let error = parse::<AdamWConfig>(text, Path::new("r.toml")).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }

    #[test]
    fn errors_name_file_line_and_nearest_key() {
        check(
            "beta1 = 0.5\n\nlearning_rte = 1.0\n",
            "r.toml:3: unknown key `learning_rte`; did you mean `learning_rate`?",
        );
        check("zeal = 1\n", "r.toml:1: unknown key `zeal`; known here: learning_rate, beta1");
        check("beta1 = 0.5\nbeta1 = 0.6\n", "r.toml:2: duplicate key");
        check("beta1 = 0.5\nbeta2 = \"much\"\n", "r.toml:2: invalid type: string \"much\"");
        check("beta1 = \n", "r.toml:1: ");
        check("\u{fc}\u{fc} = [1,\n2\n\n", "r.toml:");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = parse_file::<AdamWConfig>(Path::new("/nowhere/r.toml")).unwrap_err().to_string();
        assert!(error.contains("/nowhere/r.toml"), "{error}");
    }
}
