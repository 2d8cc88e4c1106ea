//! A failure of a host function: an error for the guest, or a trap.

use wasmtime::component::ResourceTableError;

use crate::{
    interrupt::Interrupted,
    sandbox::{Stop, table_error},
};

#[derive(Debug)]
pub enum Failure<E> {
    Guest(E),
    Trap(wasmtime::Error),
}

impl<E> Failure<E> {
    /// The guest's error, or a trap.
    pub(crate) fn convert(self) -> wasmtime::Result<E> {
        match self {
            Self::Guest(error) => Ok(error),
            Self::Trap(error) => Err(error),
        }
    }
}

impl<E> From<wasmtime::Error> for Failure<E> {
    fn from(error: wasmtime::Error) -> Self {
        Self::Trap(error)
    }
}

impl<E> From<ResourceTableError> for Failure<E> {
    fn from(error: ResourceTableError) -> Self {
        Self::Trap(table_error(error))
    }
}

impl<E> From<Stop> for Failure<E> {
    fn from(stop: Stop) -> Self {
        Self::Trap(stop.into())
    }
}

impl<E> From<Interrupted> for Failure<E> {
    fn from(interrupted: Interrupted) -> Self {
        Self::Trap(interrupted.into())
    }
}
