//! Names of steps: a wire format, read back from rows that older builds wrote.

/// The steps of an operation. Declare them with [`steps!`](crate::steps).
pub trait StepName: Copy + Eq + Send + Sync + 'static {
    /// All of them, in the order of the road; clean-up steps last.
    const ALL: &'static [Self];
    /// The name as it is stored and shown, in kebab-case.
    fn name(self) -> &'static str;
    /// Reads a stored name.
    fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|step| step.name() == name)
    }
}

/// Length of the kebab-case form of a CamelCase name.
#[doc(hidden)]
pub const fn kebab_length(name: &str) -> usize {
    let bytes = name.as_bytes();
    let (mut length, mut at) = (bytes.len(), 1);
    while at < bytes.len() {
        if bytes[at].is_ascii_uppercase() {
            length += 1;
        }
        at += 1;
    }
    length
}

/// The kebab-case form of a CamelCase name.
#[doc(hidden)]
pub const fn kebab<const LENGTH: usize>(name: &str) -> [u8; LENGTH] {
    let bytes = name.as_bytes();
    let mut out = [0; LENGTH];
    let (mut from, mut to) = (0, 0);
    while from < bytes.len() {
        if from > 0 && bytes[from].is_ascii_uppercase() {
            out[to] = b'-';
            to += 1;
        }
        out[to] = bytes[from].to_ascii_lowercase();
        from += 1;
        to += 1;
    }
    out
}

/// Declares the steps of an operation; their names are the variants in kebab-case.
///
/// ```
/// moorage_durable::steps! {
///     /// The steps in their order; `Remove` is the clean-up path.
///     pub enum Step { Allocate, MakeVolume, Remove }
/// }
/// # use moorage_durable::StepName;
/// assert_eq!(Step::MakeVolume.name(), "make-volume");
/// assert_eq!(Step::parse("remove"), Some(Step::Remove));
/// ```
#[macro_export]
macro_rules! steps {
    ($(#[$meta:meta])* $visibility:vis enum $name:ident { $($(#[$variant_meta:meta])* $variant:ident),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs)]
        $visibility enum $name { $($(#[$variant_meta])* $variant),+ }

        impl $crate::StepName for $name {
            const ALL: &'static [Self] = &[$(Self::$variant),+];
            fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => {
                        const LENGTH: usize = $crate::kebab_length(stringify!($variant));
                        const BYTES: [u8; LENGTH] = $crate::kebab(stringify!($variant));
                        const NAME: &str = match ::core::str::from_utf8(&BYTES) {
                            Ok(name) => name,
                            Err(_) => stringify!($variant),
                        };
                        NAME
                    })+
                }
            }
        }
    };
}
