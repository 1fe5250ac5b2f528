//! What a command ends with: lines for people or one JSON object, and what to do next.

use std::{
    io::{ErrorKind, Write as _},
    process::ExitCode,
};

use serde::Serialize;
use serde_json::{Map, Value};

/// The result of a command.
#[derive(Debug, Default)]
pub struct Report {
    lines: Vec<String>,
    json: Map<String, Value>,
    next: Option<String>,
}

impl Report {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A line for people.
    pub fn line(mut self, line: impl Into<String>) -> Self {
        self.lines.push(line.into());
        self
    }

    /// Lines for people, as `table` prints itself.
    pub fn table(self, table: &impl ToString) -> Self {
        table.to_string().lines().fold(self, Self::line)
    }

    /// A key of the JSON object.
    pub fn value(mut self, key: &str, value: impl Serialize) -> Self {
        let value = serde_json::to_value(value).unwrap_or(Value::Null);
        self.json.insert(key.into(), value);
        self
    }

    /// A line for people that is also a key of the JSON object.
    pub fn fact(self, key: &str, label: &str, value: impl Serialize + ToString) -> Self {
        let line = format!("{label:<22}{}", value.to_string());
        self.line(line).value(key, value)
    }

    /// The lines of another report, and its JSON object under `key`; what it says to do next is left out.
    pub fn append(mut self, key: &str, other: Self) -> Self {
        self.lines.extend(other.lines.into_iter().map(|line| format!("  {line}")));
        self.json.insert(key.into(), Value::Object(other.json));
        self
    }

    /// The command to run next.
    pub fn next(self, next: impl Into<String>) -> Self {
        Self { next: Some(next.into()), ..self }
    }

    /// Writes it to the output: exit code 0, or 1 where that cannot be written to.
    pub fn print(mut self, json: bool) -> ExitCode {
        if json {
            if let Some(next) = self.next {
                self.json.insert("next".into(), next.into());
            }
            return put(&[Value::Object(self.json).to_string()]);
        }
        self.lines.extend(self.next.map(|next| format!("next: {next}")));
        put(&self.lines)
    }
}

/// Writes lines to the output. A reader that has seen enough (`musicrl ... | head`) is no failure: the work is done.
pub fn put(lines: &[String]) -> ExitCode {
    let mut output = std::io::stdout().lock();
    match lines.iter().try_for_each(|line| writeln!(output, "{line}")).and_then(|()| output.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            eprintln!("error: cannot write to the output: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}
