//! The lock of the registry and of the gate, by name: what an opening tunnel and a change of policy race for.
//!
//! It is the standard library's, and goes on after a panic of whoever held it: what is behind it is whole after every step.
//! In tests it is that of shuttle within a model, which then decides at each lock who comes first, and tries every order.

pub(crate) use self::kind::{Mutex, MutexGuard};

#[cfg(not(test))]
mod kind {
    use std::sync::PoisonError;

    pub(crate) use std::sync::MutexGuard;

    /// A lock.
    #[derive(Debug)]
    pub(crate) struct Mutex<T>(std::sync::Mutex<T>);

    impl<T> Mutex<T> {
        /// A lock around a value.
        pub(crate) const fn new(value: T) -> Self {
            Self(std::sync::Mutex::new(value))
        }

        /// Waits until nobody else has the value.
        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }
}

#[cfg(test)]
pub(crate) use self::kind::model;

#[cfg(test)]
mod kind {
    use std::cell::Cell;
    use std::ops::{Deref, DerefMut};
    use std::sync::PoisonError;

    /// A lock, of a model or not.
    #[derive(Debug)]
    pub(crate) enum Mutex<T> {
        Real(std::sync::Mutex<T>),
        Modelled(shuttle::sync::Mutex<T>),
    }

    /// The value, for as long as nobody else has it.
    #[derive(Debug)]
    pub(crate) enum MutexGuard<'a, T> {
        Real(std::sync::MutexGuard<'a, T>),
        Modelled(shuttle::sync::MutexGuard<'a, T>),
    }

    thread_local! {
        static IS_MODELLED: Cell<bool> = const { Cell::new(false) };
    }

    /// Runs a model, in which locks are shuttle's. Its threads take turns on this one.
    pub(crate) fn model(run: impl FnOnce()) {
        IS_MODELLED.set(true);
        run();
        IS_MODELLED.set(false);
    }

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            if IS_MODELLED.get() {
                Self::Modelled(shuttle::sync::Mutex::new(value))
            } else {
                Self::Real(std::sync::Mutex::new(value))
            }
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            match self {
                Self::Real(lock) => MutexGuard::Real(lock.lock().unwrap_or_else(PoisonError::into_inner)),
                Self::Modelled(lock) => {
                    MutexGuard::Modelled(lock.lock().unwrap_or_else(PoisonError::into_inner))
                }
            }
        }
    }

    impl<T> Deref for MutexGuard<'_, T> {
        type Target = T;

        fn deref(&self) -> &T {
            match self {
                Self::Real(guard) => guard,
                Self::Modelled(guard) => guard,
            }
        }
    }

    impl<T> DerefMut for MutexGuard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            match self {
                Self::Real(guard) => guard,
                Self::Modelled(guard) => guard,
            }
        }
    }
}
