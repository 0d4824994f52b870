//! What a route says about itself beside what its handler's types say: its name, one sentence, the
//! answers and refusals that no type tells.

use schemars::{JsonSchema, Schema, SchemaGenerator};

/// Makes a type's schema.
pub type Shape = fn(&mut SchemaGenerator) -> Schema;

/// Documentation of one route; every route has one, because none is entered without.
#[derive(Clone, Debug)]
pub struct Doc {
    /// What generated clients call it: `listScripts`.
    pub id: &'static str,
    /// One line.
    pub summary: &'static str,
    /// What there is to know beyond that.
    pub about: &'static str,
    pub answers: Vec<Answer>,
    /// The statuses of the answer that the handler's type tells; 200 where none is given.
    pub statuses: &'static [u16],
    /// Headers that the handler's types do not tell.
    pub answer_headers: Vec<(&'static str, &'static str)>,
    pub body: Option<Body>,
    /// Status and code.
    pub refusals: Vec<(u16, &'static str)>,
    /// Segments of the path, and headers, that the handler's types do not tell.
    pub parameters: Vec<Parameter>,
}

/// An answer that is no refusal.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub media: &'static str,
    /// None: no body, or one without a shape.
    pub shape: Option<Shape>,
}

/// A body whose handler reads it by itself.
#[derive(Clone, Debug)]
pub struct Body {
    pub shape: Shape,
    pub how: How,
    /// Media types beside `application/json`, whose content has no schema.
    pub files: &'static [&'static str],
}

/// How a body relates to its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Whole,
    /// As whole; the name may stand in the path alone.
    Named,
    /// Any of the fields, each of which may be `null`.
    Patch,
}

/// A part of the path, or a header.
#[derive(Clone, Debug)]
pub struct Parameter {
    pub place: Place,
    pub name: &'static str,
    pub about: &'static str,
    pub shape: Shape,
}

/// Where a parameter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Path,
    Header,
}

pub const JSON: &str = "application/json";

impl Doc {
    pub fn of(id: &'static str, summary: &'static str) -> Self {
        Self {
            id,
            summary,
            about: "",
            answers: Vec::new(),
            statuses: &[200],
            answer_headers: Vec::new(),
            body: None,
            refusals: Vec::new(),
            parameters: Vec::new(),
        }
    }

    pub fn about(self, about: &'static str) -> Self {
        Self { about, ..self }
    }

    /// The statuses that the handler's own answer comes with.
    pub fn with(self, statuses: &'static [u16]) -> Self {
        Self { statuses, ..self }
    }

    /// A JSON answer that the handler's type does not tell.
    pub fn answers<T: JsonSchema>(self, status: u16) -> Self {
        self.answer(Answer {
            status,
            media: JSON,
            shape: Some(SchemaGenerator::subschema_for::<T>),
        })
    }

    /// A header that answers carry, where it says something.
    pub fn gives(mut self, name: &'static str, about: &'static str) -> Self {
        self.answer_headers.push((name, about));
        self
    }

    /// What is answered has versions.
    pub fn tagged(self) -> Self {
        self.gives("ETag", "The version, in quotation marks")
    }

    /// An answer in another form: a file, a page, a stream of events.
    pub fn sends(self, media: &'static str) -> Self {
        self.answer(Answer {
            status: 200,
            media,
            shape: None,
        })
    }

    /// Also as server-sent events, for who accepts `text/event-stream`.
    pub fn streams(self) -> Self {
        self.sends("text/event-stream")
    }

    pub fn refuses(mut self, status: u16, codes: &[&'static str]) -> Self {
        self.refusals
            .extend(codes.iter().map(|code| (status, *code)));
        self
    }

    pub fn takes<T: JsonSchema>(self) -> Self {
        self.body::<T>(How::Whole, &[])
    }

    /// Like `takes`, where the path has the name already.
    pub fn takes_named<T: JsonSchema>(self) -> Self {
        self.body::<T>(How::Named, &[])
    }

    /// Like `takes`, or as one of these files.
    pub fn takes_files<T: JsonSchema>(self, how: How, files: &'static [&'static str]) -> Self {
        self.body::<T>(how, files)
    }

    /// Any of the fields of `T`; `null` and what is not there stay as they are.
    pub fn patches<T: JsonSchema>(self) -> Self {
        self.body::<T>(How::Patch, &[])
    }

    pub fn segment<T: JsonSchema>(self, name: &'static str, about: &'static str) -> Self {
        self.parameter::<T>(Place::Path, name, about)
    }

    /// A header that may be sent.
    pub fn header<T: JsonSchema>(self, name: &'static str, about: &'static str) -> Self {
        self.parameter::<T>(Place::Header, name, about)
    }

    fn parameter<T: JsonSchema>(
        mut self,
        place: Place,
        name: &'static str,
        about: &'static str,
    ) -> Self {
        self.parameters.push(Parameter::of::<T>(place, name, about));
        self
    }

    fn answer(mut self, answer: Answer) -> Self {
        self.answers.push(answer);
        self
    }

    fn body<T: JsonSchema>(self, how: How, files: &'static [&'static str]) -> Self {
        let shape = SchemaGenerator::subschema_for::<T>;
        let body = Some(Body { shape, how, files });
        Self { body, ..self }
    }
}

impl Parameter {
    pub fn of<T: JsonSchema>(place: Place, name: &'static str, about: &'static str) -> Self {
        Self {
            place,
            name,
            about,
            shape: SchemaGenerator::subschema_for::<T>,
        }
    }
}
