//! What can go wrong, as users see it: a stable code, a public text, and nothing private.

use serde::{Deserialize, Serialize};

/// The kind of answer a problem deserves; families map it to their own status codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    /// The request itself is not right.
    Invalid,
    /// Nobody proved who they are.
    Unauthenticated,
    /// Known, but not allowed.
    Forbidden,
    /// Not there, or not for this caller.
    NotFound,
    /// Right, but not now or not beside what exists.
    Conflict,
    /// There is no such feature (yet).
    NotSupported,
    /// A resource is used up.
    Exhausted,
    /// Temporarily not possible.
    Unavailable,
    /// An engine or host did not do what it should.
    Failed,
    /// Our fault.
    Internal,
}

macro_rules! codes {
    ($($variant:ident $text:literal $category:ident),* $(,)?) => {
        /// A stable problem code; each has a page `docs/problems/<code>.md`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[allow(missing_docs)]
        pub enum ProblemCode { $(#[serde(rename = $text)] $variant),* }

        impl ProblemCode {
            /// Every code there is.
            pub const ALL: &'static [ProblemCode] = &[$(ProblemCode::$variant),*];
            /// The code as it appears on the wire and in file names.
            pub fn as_str(self) -> &'static str {
                match self { $(ProblemCode::$variant => $text),* }
            }
            /// What kind of answer it deserves.
            pub fn category(self) -> Category {
                match self { $(ProblemCode::$variant => Category::$category),* }
            }
        }
    };
}

codes! {
    InvalidRequest "invalid-request" Invalid,
    MalformedBody "malformed-body" Invalid,
    BodyTooLarge "body-too-large" Invalid,
    Unauthenticated "unauthenticated" Unauthenticated,
    Forbidden "forbidden" Forbidden,
    PathNotFound "path-not-found" NotFound,
    MethodNotAllowed "method-not-allowed" Invalid,
    UnsupportedMediaType "unsupported-media-type" Invalid,
    NotAcceptable "not-acceptable" Invalid,
    ClusterNotFound "cluster-not-found" NotFound,
    InstanceNotFound "instance-not-found" NotFound,
    OperationNotFound "operation-not-found" NotFound,
    UserNotFound "user-not-found" NotFound,
    TeamNotFound "team-not-found" NotFound,
    ProjectNotFound "project-not-found" NotFound,
    CredentialNotFound "credential-not-found" NotFound,
    DatabaseNotFound "database-not-found" NotFound,
    EngineVersionUnknown "engine-version-unknown" NotFound,
    EngineVersionNotInstalled "engine-version-not-installed" Invalid,
    ParameterGroupNotFound "parameter-group-not-found" NotFound,
    ServerTypeUnknown "server-type-unknown" Invalid,
    SubnetUnknown "subnet-unknown" Invalid,
    NameTaken "name-taken" Conflict,
    NameInQuarantine "name-in-quarantine" Conflict,
    AddressTaken "address-taken" Conflict,
    AddressOutsideSubnet "address-outside-subnet" Invalid,
    NoFreeAddress "no-free-address" Exhausted,
    LoginLocked "login-locked" Unauthenticated,
    LastAdministrator "last-administrator" Conflict,
    ProjectNotEmpty "project-not-empty" Conflict,
    DeletionProtected "deletion-protected" Conflict,
    PreconditionFailed "precondition-failed" Conflict,
    IdempotencyKeyReused "idempotency-key-reused" Invalid,
    IdempotencyKeyInUse "idempotency-key-in-use" Conflict,
    OutcomeUnknown "outcome-unknown" Conflict,
    WrongState "wrong-state" Conflict,
    DatabaseInQuarantine "database-in-quarantine" Conflict,
    ClusterBusy "cluster-busy" Conflict,
    NoStandbyInSync "no-standby-in-sync" Conflict,
    TransactionsGoOn "transactions-go-on" Conflict,
    Superseded "superseded" Conflict,
    NotSupportedYet "not-supported-yet" NotSupported,
    NotEnoughSpace "not-enough-space" Exhausted,
    NotEnoughMemory "not-enough-memory" Exhausted,
    NoCapacity "no-capacity" Exhausted,
    EngineStartFailed "engine-start-failed" Failed,
    EngineCrashLoop "engine-crash-loop" Failed,
    EngineHung "engine-hung" Failed,
    EngineRefused "engine-refused" Failed,
    EngineUnreachable "engine-unreachable" Unavailable,
    GatewayUnavailable "gateway-unavailable" Unavailable,
    HostFailed "host-failed" Failed,
    TermTooOld "term-too-old" Conflict,
    OperationCancelled "operation-cancelled" Conflict,
    OperationUnreadable "operation-unreadable" Internal,
    OnAnotherHost "on-another-host" Conflict,
    StoreUnavailable "store-unavailable" Unavailable,
    StoreTooNew "store-too-new" Internal,
    DataDirectoryInUse "data-directory-in-use" Conflict,
    DataDirectoryUnusable "data-directory-unusable" Failed,
    ConfigInvalid "config-invalid" Invalid,
    EngineInstallFailed "engine-install-failed" Failed,
    Internal "internal" Internal,
}

/// A problem as a user may see it. Private causes are logged where they are handled and never stored here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    /// The stable code.
    pub code: ProblemCode,
    /// What happened, in one sentence.
    pub message: String,
    /// Why, in the words of whoever knows (an engine's own, for instance).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The field of the request that is at fault, as a dotted path (`init_config_option.database_port`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

impl Problem {
    /// A problem with its one sentence.
    pub fn new(code: ProblemCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), detail: None, hint: None, field: None }
    }
    /// A field of the request is not right.
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(ProblemCode::InvalidRequest, message).field(field)
    }
    /// Our fault; the cause goes to the log, not into the problem.
    pub fn internal() -> Self {
        Self::new(ProblemCode::Internal, "Something went wrong inside Moorage.")
            .hint("Try again; if it happens again, the server's log has the cause under the request's id.")
    }
    /// Adds why.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }
    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
    /// Names the field at fault.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }
    /// The kind of answer it deserves.
    pub fn category(&self) -> Category {
        self.code.category()
    }
}
