//! The route table: every route is entered here with what it takes to pass, so that none can be
//! without, what exists can be listed, and one layer can check it all.

use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodFilter, MethodRouter, on};
use events::Role;

/// What it takes to pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// None: anyone passes, without a token.
    least: Option<Role>,
    /// A role beside those that include the least one.
    also: Option<Role>,
    /// Browsers give an event stream no headers, so the token may stand in the query.
    pub streams: bool,
}

impl Needs {
    pub const NOTHING: Self = Self {
        least: None,
        also: None,
        streams: false,
    };
    pub const VIEWER: Self = Self::role(Role::Viewer);
    pub const OPERATOR: Self = Self::role(Role::Operator);
    pub const AUTHOR: Self = Self::role(Role::Author);
    pub const ADMIN: Self = Self::role(Role::Admin);

    const fn role(least: Role) -> Self {
        Self {
            least: Some(least),
            also: None,
            streams: false,
        }
    }

    /// Those of this role pass, too.
    pub const fn or(self, also: Role) -> Self {
        Self {
            also: Some(also),
            ..self
        }
    }

    /// It answers with events where the client wants that.
    pub const fn streaming(self) -> Self {
        Self {
            streams: true,
            ..self
        }
    }

    pub fn admits_anyone(&self) -> bool {
        self.least.is_none()
    }

    pub fn admits(&self, role: Role) -> bool {
        let Some(least) = self.least else { return true };
        role.includes(least) || self.also == Some(role)
    }

    /// For people: `operator`, or `admin or runner`.
    pub fn named(&self) -> String {
        let roles = self
            .least
            .iter()
            .chain(&self.also)
            .map(|role| role.as_str());
        roles.collect::<Vec<_>>().join(" or ")
    }
}

/// One route, as it is listed.
#[derive(Clone, Debug)]
pub struct Route {
    pub method: Method,
    pub path: &'static str,
    pub needs: Needs,
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

    /// A route for those who have what it needs.
    pub fn route<H, T>(self, needs: Needs, method: Method, path: &'static str, handler: H) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        self.wrapped(needs, method, path, handler, |route| route)
    }

    /// Like `route`, with something around the handler, such as a larger limit for its body.
    pub fn wrapped<H, T>(
        mut self,
        needs: Needs,
        method: Method,
        path: &'static str,
        handler: H,
        wrap: impl FnOnce(MethodRouter<S>) -> MethodRouter<S>,
    ) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        let route = wrap(on(filter(&method), handler));
        self.routes.push(Route {
            method,
            path,
            needs,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_takes_is_the_least_role_and_those_beside_it() {
        let admitted = |needs: Needs| {
            let roles = Role::ALL
                .into_iter()
                .filter(move |role| needs.admits(*role));
            roles.map(Role::as_str).collect::<Vec<_>>()
        };
        assert_eq!(admitted(Needs::NOTHING).len(), Role::ALL.len());
        assert_eq!(admitted(Needs::AUTHOR), ["author", "admin"]);
        let join = Needs::ADMIN.or(Role::Runner);
        assert_eq!(admitted(join), ["admin", "runner"]);
        assert_eq!(join.named(), "admin or runner");
    }
}
