//! The route table: every route is entered here with what it takes to pass and what it says of itself,
//! so that none can be without, what exists can be listed, and one layer can check it all.

use super::needs::Needs;
use super::openapi::{Described, Doc, Route};
use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodFilter, MethodRouter, on};

/// Routes on their way into a router.
pub struct Table<S> {
    routes: Vec<Route>,
    router: Router<S>,
}

impl<S: Clone + Send + Sync + 'static> Table<S> {
    pub fn new() -> Self {
        Self {
            routes: Vec::new(),
            router: Router::new(),
        }
    }

    /// A route for those who have what it needs.
    pub fn route<H, T, P>(
        self,
        needs: Needs,
        method: Method,
        path: &'static str,
        handler: H,
        doc: Doc,
    ) -> Self
    where
        H: Handler<T, S> + Described<P>,
        T: 'static,
    {
        self.wrapped(needs, method, path, handler, doc, |route| route)
    }

    /// Like `route`, with something around the handler, such as a larger limit for its body.
    pub fn wrapped<H, T, P>(
        mut self,
        needs: Needs,
        method: Method,
        path: &'static str,
        handler: H,
        doc: Doc,
        wrap: impl FnOnce(MethodRouter<S>) -> MethodRouter<S>,
    ) -> Self
    where
        H: Handler<T, S> + Described<P>,
        T: 'static,
    {
        let route = wrap(on(filter(&method), handler));
        self.routes.push(Route {
            method,
            path,
            needs,
            doc,
            describe: <H as Described<P>>::describe,
        });
        self.router = self.router.route(path, route);
        self
    }

    pub fn into_parts(self) -> (Vec<Route>, Router<S>) {
        (self.routes, self.router)
    }
}

fn filter(method: &Method) -> MethodFilter {
    MethodFilter::try_from(method.clone()).expect("the table names methods that HTTP has")
}
