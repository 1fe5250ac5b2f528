//! Settings of a training command: a preset, a file over it, overrides over both.

use std::path::Path;

use serde::{Serialize, de::DeserializeOwned};
use toml::{Table, Value};

use super::parse::{explain, parse};
use crate::{Error, Result};

/// `preset` with the keys of the TOML text `file` (text and where it came from) and then of `overrides`
/// (`key=value`, dotted keys, values in TOML or else text) in place of its own.
///
/// # Errors
/// [`Error::Parse`] for a key that nothing reads or a value of another type, with the line of the file or with the
/// override.
pub fn resolve<T: Serialize + DeserializeOwned>(
    preset: &T,
    file: Option<(&str, &Path)>,
    overrides: &[String],
) -> Result<T> {
    let mut table = to_table(preset)?;
    if let Some((text, path)) = file {
        // Read by itself first, for the line of an error; what it leaves out comes from the preset.
        match parse::<T>(text, path) {
            Err(Error::Parse { ref reason, .. }) if reason.starts_with("missing field") => {}
            Err(error) => return Err(error),
            Ok(_) => {}
        }
        merge(&mut table, parse::<Table>(text, path)?);
        from_table::<T>(&table).map_err(|reason| Error::Parse { path: path.into(), line: 0, reason })?;
    }
    for assignment in overrides {
        let refuse = |reason: String| Error::Parse { path: format!("--set {assignment}").into(), line: 0, reason };
        let (key, value) = assignment.split_once('=').ok_or_else(|| refuse("expected key=value".into()))?;
        set(&mut table, key.trim(), to_value(value.trim())).map_err(refuse)?;
        from_table::<T>(&table).map_err(refuse)?;
    }
    from_table(&table).map_err(|reason| Error::Parse { path: "settings".into(), line: 0, reason })
}

/// `settings` with the keys of `table`, which came from `path`, in the place of their own.
///
/// # Errors
/// [`Error::Parse`] for a key that nothing reads or a value of another type.
pub fn over<T: Serialize + DeserializeOwned>(settings: &T, table: Table, path: &Path) -> Result<T> {
    let mut whole = to_table(settings)?;
    merge(&mut whole, table);
    from_table(&whole).map_err(|reason| Error::Parse { path: path.into(), line: 0, reason })
}

/// Settings as TOML, nothing left to a default.
///
/// # Errors
/// [`Error::Config`] when they cannot be written as TOML.
pub fn to_toml<T: Serialize>(settings: &T) -> Result<String> {
    toml::to_string(settings).map_err(|error| Error::config("settings", "settings that TOML can hold", error))
}

fn to_table<T: Serialize>(settings: &T) -> Result<Table> {
    Table::try_from(settings).map_err(|error| Error::config("settings", "settings that TOML can hold", error))
}

fn from_table<T: DeserializeOwned>(table: &Table) -> std::result::Result<T, String> {
    table.clone().try_into().map_err(|error: toml::de::Error| explain(error.message()))
}

fn merge(into: &mut Table, from: Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Table(old)), Value::Table(new)) => merge(old, new),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

fn to_value(text: &str) -> Value {
    let parsed = toml::from_str::<Table>(&format!("value = {text}")).ok();
    // A text with a line end could hold more keys than one: then it is only text.
    let single = parsed.filter(|table| table.len() == 1).and_then(|mut table| table.remove("value"));
    single.unwrap_or_else(|| Value::String(text.into()))
}

fn set(table: &mut Table, key: &str, value: Value) -> std::result::Result<(), String> {
    match key.split_once('.') {
        None => {
            table.insert(key.into(), value);
            Ok(())
        }
        Some((head, tail)) => match table.entry(head).or_insert_with(|| Value::Table(Table::new())) {
            Value::Table(inner) => set(inner, tail, value),
            other => Err(format!("`{head}` is a {}, it has no key `{tail}`", other.type_str())),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::AdamWConfig;
    use serde::Deserialize;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        steps: u64,
        name: String,
        optimiser: AdamWConfig,
    }

    fn preset() -> Settings {
        let optimiser = AdamWConfig { learning_rate: 7e-4, ..AdamWConfig::default() };
        Settings { steps: 100, name: "small".into(), optimiser }
    }

    fn with(file: &str, overrides: &[&str]) -> Result<Settings> {
        let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
        resolve(&preset(), Some((file, Path::new("s.toml"))), &overrides)
    }

    #[test]
    fn the_preset_stays_where_nothing_is_said() {
        assert_eq!(with("", &[]).unwrap(), preset());
        let settings = with("steps = 5\n[optimiser]\nbeta1 = 0.8\n", &["optimiser.beta2=0.5", "name = a b"]).unwrap();
        assert_eq!((settings.steps, settings.name.as_str()), (5, "a b"));
        assert_eq!(settings.optimiser, AdamWConfig { beta1: 0.8, beta2: 0.5, ..preset().optimiser });
        assert_eq!(with("steps = 5", &["steps=6", "steps=7"]).unwrap().steps, 7);
    }

    #[test]
    fn what_is_written_back_is_read_as_the_same() {
        let text = to_toml(&preset()).unwrap();
        assert!(text.contains("final_fraction"), "every key is there: {text}");
        assert_eq!(with(&text, &[]).unwrap(), preset());
    }

    #[test]
    fn bad_keys_and_values_are_refused_where_they_stand() {
        let check = |file: &str, overrides: &[&str], expected: &str| {
            let error = with(file, overrides).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check("steps = 1\nstep = 2\n", &[], "s.toml:2: unknown key `step`; did you mean `steps`?");
        check("steps = 1\n[optimiser]\nbeta3 = 1\n", &[], "s.toml:3: unknown key `beta3`; did you mean `beta1`?");
        check("", &["optimiser.learnig_rate=1"], "--set optimiser.learnig_rate=1: unknown key");
        check("", &["steps=many"], "--set steps=many: invalid type");
        check("", &["steps"], "expected key=value");
        check("", &["steps.x=1"], "it has no key `x`");
    }
}
