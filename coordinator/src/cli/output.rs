//! Data on standard output, in the form the user asked for: tables and listings for people, the
//! API's own JSON for programs, names for shells. What is shown is chosen by the nouns.

use std::io::Write;

use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use jiff::Timestamp;
use serde_json::Value;

use super::failure::Failure;
use super::terminal::{Terminal, plain};
use super::when;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns for people, times as `3m ago`
    #[default]
    Table,
    /// More columns, full times
    Wide,
    /// The API's JSON
    Json,
    /// One JSON object per line
    Jsonl,
    /// Names or ids only, one per line
    Name,
}

pub struct Output {
    pub format: Format,
    pub terminal: Terminal,
    now: Timestamp,
}

/// One column of a table, or one line of a listing.
pub struct Column {
    title: &'static str,
    wide_only: bool,
    cell: Cell,
}

enum Cell {
    Text(&'static str),
    Time(&'static str),
    Made(fn(&Value) -> String),
}

impl Column {
    /// The field at this JSON pointer.
    pub const fn text(title: &'static str, pointer: &'static str) -> Self {
        Self {
            title,
            wide_only: false,
            cell: Cell::Text(pointer),
        }
    }

    pub const fn time(title: &'static str, pointer: &'static str) -> Self {
        Self {
            title,
            wide_only: false,
            cell: Cell::Time(pointer),
        }
    }

    pub const fn made(title: &'static str, make: fn(&Value) -> String) -> Self {
        Self {
            title,
            wide_only: false,
            cell: Cell::Made(make),
        }
    }

    pub const fn wide(mut self) -> Self {
        self.wide_only = true;
        self
    }
}

impl Output {
    pub fn new(format: Format, terminal: Terminal, now: Timestamp) -> Self {
        Self {
            format,
            terminal,
            now,
        }
    }

    /// Tables and listings, with room for more around them.
    pub fn is_for_people(&self) -> bool {
        matches!(self.format, Format::Table | Format::Wide)
    }

    /// `body` is the API's answer, `items` what it lists, `name` the field that names one.
    pub fn list(
        &self,
        body: &Value,
        items: &[Value],
        name: &str,
        columns: &[Column],
    ) -> Result<(), Failure> {
        match self.format {
            Format::Table | Format::Wide => self.table(items, columns),
            Format::Json => self.json(body),
            Format::Jsonl => items
                .iter()
                .try_for_each(|item| self.line(&item.to_string())),
            Format::Name => items
                .iter()
                .try_for_each(|item| self.line(&text(&item[name]))),
        }
    }

    /// One thing: a line per filled field.
    pub fn show(&self, item: &Value, name: &str, columns: &[Column]) -> Result<(), Failure> {
        match self.format {
            Format::Table | Format::Wide => self.listing(item, columns),
            Format::Json => self.json(item),
            Format::Jsonl => self.line(&item.to_string()),
            Format::Name => self.line(&text(&item[name])),
        }
    }

    /// There is no answer to show: the name is all that is left.
    pub fn deleted(&self, kind: &str, name: &str) -> Result<(), Failure> {
        match self.format {
            Format::Table | Format::Wide => self.line(&format!("{kind}/{name} deleted")),
            Format::Name => self.line(name),
            Format::Json | Format::Jsonl => {
                self.json(&serde_json::json!({"kind": kind, "name": name, "deleted": true}))
            }
        }
    }

    /// Indented, or one line where the form is `jsonl`.
    pub fn json(&self, value: &Value) -> Result<(), Failure> {
        match self.format {
            Format::Jsonl => self.line(&value.to_string()),
            _ => self.line(&format!("{value:#}")),
        }
    }

    pub fn line(&self, text: &str) -> Result<(), Failure> {
        self.raw(text.as_bytes())?;
        self.raw(b"\n")
    }

    /// Bytes as they are: to a pipe or file, or filtered already.
    pub fn raw(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut stdout = std::io::stdout().lock();
        stdout
            .write_all(bytes)
            .and_then(|()| stdout.flush())
            .map_err(Failure::output)
    }

    fn table(&self, items: &[Value], columns: &[Column]) -> Result<(), Failure> {
        let shown: Vec<&Column> = columns
            .iter()
            .filter(|column| !column.wide_only || self.format == Format::Wide)
            .collect();
        let mut table = grid();
        table.set_header(shown.iter().map(|column| column.title));
        for item in items {
            table.add_row(shown.iter().map(|column| self.cell(column, item)));
        }
        self.line(&trimmed(&mut table))
    }

    fn listing(&self, item: &Value, columns: &[Column]) -> Result<(), Failure> {
        let mut table = grid();
        for column in columns {
            let cell = self.cell(column, item);
            if !cell.is_empty() {
                table.add_row([format!("{}:", column.title.to_lowercase()), cell]);
            }
        }
        self.line(&trimmed(&mut table))
    }

    fn cell(&self, column: &Column, item: &Value) -> String {
        let at = |pointer| item.pointer(pointer).unwrap_or(&Value::Null);
        plain(&match column.cell {
            Cell::Text(pointer) => text(at(pointer)),
            Cell::Made(make) => make(item),
            Cell::Time(pointer) if self.format == Format::Table => {
                when::relative(&text(at(pointer)), self.now)
            }
            Cell::Time(pointer) => text(at(pointer)),
        })
    }
}

/// A JSON value as people write it: no quotes, lists with commas, nothing for nothing.
pub fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

fn grid() -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    table
}

fn trimmed(table: &mut Table) -> String {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_read_like_words() {
        assert_eq!(text(&json!(["uv", "x"])), "uv,x");
        assert_eq!(text(&json!(null)), "");
        assert_eq!(text(&json!(3)), "3");
    }

    #[test]
    fn cells_are_harmless_and_times_follow_the_format() {
        let item = json!({"name": "a\u{1b}[2J", "at": "2026-11-20T09:00:00Z"});
        let cell = |format, column: &Column| {
            let now = "2026-11-20T10:00:00Z".parse().unwrap();
            Output::new(format, Terminal::detect(false), now).cell(column, &item)
        };
        assert_eq!(cell(Format::Table, &Column::text("NAME", "/name")), "a [2J");
        assert_eq!(cell(Format::Table, &Column::time("AT", "/at")), "1h ago");
        assert_eq!(
            cell(Format::Wide, &Column::time("AT", "/at")),
            "2026-11-20T09:00:00Z"
        );
    }
}
