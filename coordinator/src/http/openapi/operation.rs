//! All that is known of one route: what its handler's types say, what its documentation adds, and what
//! holds for every route with its needs.

use super::doc::{Answer, Body, Doc, How, JSON, Parameter, Place, Shape};
use super::route::Route;
use schemars::JsonSchema;
use schemars::SchemaGenerator;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug)]
pub struct Operation {
    statuses: &'static [u16],
    pub parameters: Vec<Parameter>,
    /// Types whose fields are parameters of the query.
    pub queries: Vec<Shape>,
    pub body: Option<Body>,
    pub body_required: bool,
    /// It has a body, whether or not anybody has said what that is.
    pub reads_body: bool,
    pub answers: Vec<Answer>,
    /// Headers of the answers, with what they say.
    pub answer_headers: Vec<(&'static str, &'static str)>,
    /// Codes by status.
    pub refusals: BTreeMap<u16, BTreeSet<&'static str>>,
}

impl Operation {
    pub fn of(route: &Route) -> Self {
        let doc = &route.doc;
        let mut operation = Self {
            statuses: doc.statuses,
            parameters: Vec::new(),
            queries: Vec::new(),
            body: None,
            body_required: true,
            reads_body: false,
            answers: Vec::new(),
            answer_headers: Vec::new(),
            refusals: BTreeMap::new(),
        };
        operation.meets_the_door(route);
        (route.describe)(&mut operation);
        operation.is_documented(doc);
        operation
    }

    pub fn segment<T: JsonSchema>(&mut self, name: &'static str, about: &'static str) {
        self.parameters
            .push(Parameter::of::<T>(Place::Path, name, about));
    }

    pub fn header<T: JsonSchema>(&mut self, name: &'static str, about: &'static str) {
        self.parameters
            .push(Parameter::of::<T>(Place::Header, name, about));
    }

    /// A header that answers carry, where it says something.
    pub fn gives(&mut self, name: &'static str, about: &'static str) {
        self.answer_headers.push((name, about));
    }

    pub fn query<T: JsonSchema>(&mut self) {
        self.queries.push(SchemaGenerator::subschema_for::<T>);
    }

    pub fn body(&mut self, shape: Shape, required: bool) {
        self.body_required = required;
        self.body = Some(Body {
            shape,
            how: How::Whole,
            files: &[],
        });
    }

    pub fn reads_body(&mut self) {
        self.reads_body = true;
        self.refuses(400, &["body_incomplete"]);
        self.refuses(413, &["body_too_large"]);
    }

    /// The handler's own answer, with each status that it comes with.
    pub fn answers(&mut self, shape: Option<Shape>) {
        for status in self.statuses {
            self.answers.push(Answer {
                status: *status,
                media: JSON,
                shape,
            });
        }
    }

    pub fn refuses(&mut self, status: u16, codes: &[&'static str]) {
        self.refusals.entry(status).or_default().extend(codes);
    }

    /// What happens before any handler.
    fn meets_the_door(&mut self, route: &Route) {
        self.refuses(400, &["invalid_path", "repeated_header"]);
        self.refuses(403, &["host_not_allowed", "origin_not_allowed"]);
        if !route.needs.admits_anyone() {
            self.refuses(401, &["unauthenticated"]);
            self.refuses(403, &["role_needed"]);
            self.refuses(429, &["too_many_failed_logins"]);
        }
    }

    fn is_documented(&mut self, doc: &Doc) {
        self.parameters.extend(doc.parameters.iter().cloned());
        self.answers.extend(doc.answers.iter().cloned());
        self.answer_headers.extend(&doc.answer_headers);
        self.body = doc.body.clone().or(self.body.take());
        for (status, code) in &doc.refusals {
            self.refuses(*status, &[code]);
        }
    }
}
