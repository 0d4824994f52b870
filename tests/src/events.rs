//! Server-sent events as a client reads them: one after the other, as they come.

use reqwest::Response;
use serde_json::Value;

/// A stream of events; closed when it is dropped.
pub struct Events {
    response: Response,
    text: Vec<u8>,
}

/// One event; its data is JSON.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub name: String,
    pub id: Option<String>,
    pub data: Value,
}

impl Events {
    pub fn of(response: Response) -> Self {
        assert_eq!(response.status(), 200, "{response:?}");
        Self {
            response,
            text: Vec::new(),
        }
    }

    /// The next event, once it is there; none when the stream ends.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(end) = self.text.windows(2).position(|two| two == b"\n\n") {
                let block: Vec<u8> = self.text.drain(..end + 2).collect();
                match event(&String::from_utf8(block).unwrap()) {
                    Some(event) => return Some(event),
                    // A comment, which keeps proxies awake.
                    None => continue,
                }
            }
            self.text.extend(self.response.chunk().await.unwrap()?);
        }
    }
}

fn event(block: &str) -> Option<Event> {
    Some(Event {
        name: fields(block, "event:").pop()?.to_owned(),
        id: fields(block, "id:").pop().map(str::to_owned),
        data: serde_json::from_str(&fields(block, "data:").join("\n")).unwrap(),
    })
}

fn fields<'a>(block: &'a str, name: &str) -> Vec<&'a str> {
    let lines = block.lines().filter_map(|line| line.strip_prefix(name));
    lines
        .map(|value| value.strip_prefix(' ').unwrap_or(value))
        .collect()
}
