//! Bounded parts of JSON: lists and maps that end the reading when they are longer than anything that is asked for, so that
//! an answer takes about the memory of its own bytes. Knows no object of Kubernetes.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A list of at most `N` elements. `null` is an empty one, as Go writes it.
#[derive(Debug, Clone)]
pub(crate) struct Few<T, const N: usize>(Vec<T>);

/// A map of at most `N` entries, in their order. `null` is an empty one.
#[derive(Debug, Clone)]
pub(crate) struct FewPairs<T, const N: usize>(Vec<(String, T)>);

/// The first `N` elements of a list that count; the others are passed over and take no memory.
#[derive(Debug, Clone)]
pub(crate) struct Picked<T, const N: usize>(Vec<T>);

/// Chooses the elements of a list that count.
pub(crate) trait Chosen {
    fn is_chosen(&self) -> bool;
}

/// Reads a text of at most `N` bytes. A longer one, which no cluster has there, is passed over like `null`.
pub(crate) fn short<'de, const N: usize, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    struct Short<const N: usize>;
    impl<'de, const N: usize> Visitor<'de> for Short<N> {
        type Value = Option<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a text")
        }

        fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
            Ok((text.len() <= N).then(|| text.to_owned()))
        }
    }
    deserializer.deserialize_any(Short::<N>)
}

/// The same for a text that is always there: a longer one becomes empty.
pub(crate) fn short_text<'de, const N: usize, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    short::<N, D>(deserializer).map(Option::unwrap_or_default)
}

impl<T, const N: usize> Default for Few<T, N> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T, const N: usize> Deref for Few<T, N> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T, const N: usize> Few<T, N> {
    pub(crate) fn into_vec(self) -> Vec<T> {
        self.0
    }
}

impl<T, const N: usize> Default for FewPairs<T, N> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T, const N: usize> FewPairs<T, N> {
    pub(crate) fn get(&self, key: &str) -> Option<&T> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    pub(crate) fn into_vec(self) -> Vec<(String, T)> {
        self.0
    }
}

impl<T, const N: usize> Default for Picked<T, N> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T, const N: usize> Deref for Picked<T, N> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<'de, T: Deserialize<'de>, const N: usize> Deserialize<'de> for Few<T, N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements<T, const N: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const N: usize> Visitor<'de> for Elements<T, N> {
            type Value = Vec<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of at most {N} elements")
            }

            fn visit_unit<E: Error>(self) -> Result<Vec<T>, E> {
                Ok(Vec::new())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Vec<T>, A::Error> {
                let mut all = Vec::new();
                while all.len() < N {
                    let Some(element) = elements.next_element()? else { return Ok(all) };
                    all.push(element);
                }
                match elements.next_element::<IgnoredAny>()? {
                    Some(_) => Err(A::Error::invalid_length(N + 1, &self)),
                    None => Ok(all),
                }
            }
        }
        deserializer.deserialize_any(Elements::<T, N>(PhantomData)).map(Self)
    }
}

impl<'de, T: Deserialize<'de>, const N: usize> Deserialize<'de> for FewPairs<T, N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<T, const N: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const N: usize> Visitor<'de> for Entries<T, N> {
            type Value = Vec<(String, T)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a map of at most {N} entries")
            }

            fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
                Ok(Vec::new())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
                let mut all = Vec::new();
                while let Some(entry) = entries.next_entry()? {
                    if all.len() == N {
                        return Err(A::Error::invalid_length(N + 1, &self));
                    }
                    all.push(entry);
                }
                Ok(all)
            }
        }
        deserializer.deserialize_any(Entries::<T, N>(PhantomData)).map(Self)
    }
}

impl<'de, T: Deserialize<'de> + Chosen, const N: usize> Deserialize<'de> for Picked<T, N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements<T, const N: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de> + Chosen, const N: usize> Visitor<'de> for Elements<T, N> {
            type Value = Vec<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_unit<E: Error>(self) -> Result<Vec<T>, E> {
                Ok(Vec::new())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Vec<T>, A::Error> {
                let mut all = Vec::new();
                while let Some(element) = elements.next_element::<T>()? {
                    if all.len() < N && element.is_chosen() {
                        // Mostly there is one, and a list would grow to four at once.
                        all.reserve_exact(usize::from(all.is_empty()));
                        all.push(element);
                    }
                }
                Ok(all)
            }
        }
        deserializer.deserialize_any(Elements::<T, N>(PhantomData)).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize, PartialEq)]
    struct Named {
        name: String,
    }

    impl Chosen for Named {
        fn is_chosen(&self) -> bool {
            self.name == "agent"
        }
    }

    #[test]
    fn a_list_ends_at_its_bound() {
        let read = |text: &str| serde_json::from_str::<Few<u8, 3>>(text).map(Few::into_vec);
        for (text, all) in [("null", vec![]), ("[]", vec![]), ("[1]", vec![1]), ("[1,2,3]", vec![1, 2, 3])] {
            assert_eq!(read(text).unwrap(), all, "{text}");
        }
        for text in ["[1,2,3,4]", "[1,2,3,{}]", "[1,2,3", "{}", "7", "\"[]\"", "[\"a\"]"] {
            assert!(read(text).is_err(), "{text}");
        }
        // Nothing behind the bound is read, so its length does not matter.
        let long = format!("[{}", "1,".repeat(1_000));
        assert!(read(&long).unwrap_err().is_data());
    }

    #[test]
    fn a_map_ends_at_its_bound() {
        let read = |text: &str| serde_json::from_str::<FewPairs<u8, 2>>(text);
        assert!(read("null").unwrap().get("a").is_none() && read("{}").unwrap().into_vec().is_empty());
        assert_eq!(read(r#"{"a":1,"{\"b\\":2}"#).unwrap().get("{\"b\\"), Some(&2));
        for text in [r#"{"a":1,"b":2,"c":3}"#, r#"{"a":1,"a":1,"a":1}"#, "[]", r#"{"a":{}}"#, r#"{"a":1"#] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_element_that_counts_is_kept_wherever_it_is() {
        let read = |text: &str| serde_json::from_str::<Picked<Named, 1>>(text).map(|picked| picked.0);
        let agent = || vec![Named { name: "agent".to_owned() }];
        assert_eq!(read(r#"[{"name":"a"},{"name":"agent"},{"name":"agent"}]"#).unwrap(), agent());
        assert_eq!((read("null").unwrap(), read("[]").unwrap()), (vec![], vec![]));
        let many = format!("[{}{{\"name\":\"agent\"}}]", "{\"name\":\"x\"},".repeat(10_000));
        assert_eq!(read(&many).unwrap(), agent());
        for text in ["[{}]", "[7]", "{}", "[{\"name\":\"agent\"}"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
