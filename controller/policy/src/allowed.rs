//! The value of `allow` in a policy: `true`, `false` or a list of names. `*` in the list means every name.

use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};

/// The most names in a list.
const MAX_NAMES: usize = 1_000;

/// The names that an operator allows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Allowed {
    #[default]
    All,
    None,
    Names(Vec<String>),
}

impl Allowed {
    pub fn allows(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::Names(names) => names.iter().any(|allowed| allowed == name || allowed == "*"),
        }
    }
}

impl<'de> Deserialize<'de> for Allowed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Allowed;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("true, false or a list of names")
            }

            fn visit_bool<E: Error>(self, all: bool) -> Result<Allowed, E> {
                Ok(if all { Allowed::All } else { Allowed::None })
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Allowed, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = list.next_element::<String>()? {
                    if names.len() >= MAX_NAMES {
                        return Err(A::Error::custom(format!("at most {MAX_NAMES} names")));
                    }
                    names.push(name);
                }
                Ok(Allowed::Names(names))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}
