//! What it takes to pass a route: a role, or none.

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

    /// The least role that passes, and the one beside it.
    pub fn roles(&self) -> impl Iterator<Item = Role> {
        self.least.into_iter().chain(self.also)
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
        let roles = self.roles().map(Role::as_str);
        roles.collect::<Vec<_>>().join(" or ")
    }
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
