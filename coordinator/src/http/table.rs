//! The route table: every route is entered here, so that what exists can be listed, and what needs
//! no token is written down beside the route itself.

use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodFilter, MethodRouter, on};

/// Who may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    Anyone,
    /// Holders of a token.
    Token,
}

/// One route, as it is listed.
#[derive(Clone, Debug)]
pub struct Route {
    pub method: Method,
    pub path: &'static str,
    pub entry: Entry,
}

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

    /// A route for holders of a token.
    pub fn route<H, T>(self, method: Method, path: &'static str, handler: H) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        let filter = filter(&method);
        self.enter(method, path, Entry::Token, on(filter, handler))
    }

    /// A route that needs no token. The path has no parameters: the door compares it as a whole.
    pub fn open<H, T>(self, method: Method, path: &'static str, handler: H) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        let filter = filter(&method);
        self.enter(method, path, Entry::Anyone, on(filter, handler))
    }

    /// Like `route`, with something around the handler, such as a larger limit for its body.
    pub fn wrapped<H, T>(
        self,
        method: Method,
        path: &'static str,
        handler: H,
        wrap: impl FnOnce(MethodRouter<S>) -> MethodRouter<S>,
    ) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        let filter = filter(&method);
        self.enter(method, path, Entry::Token, wrap(on(filter, handler)))
    }

    pub fn into_parts(self) -> (Vec<Route>, Router<S>) {
        (self.routes, self.router)
    }

    fn enter(
        mut self,
        method: Method,
        path: &'static str,
        entry: Entry,
        route: MethodRouter<S>,
    ) -> Self {
        self.routes.push(Route {
            method,
            path,
            entry,
        });
        self.router = self.router.route(path, route);
        self
    }
}

fn filter(method: &Method) -> MethodFilter {
    MethodFilter::try_from(method.clone()).expect("the table names methods that HTTP has")
}
