//! What goes into a statement and comes out of a row.

use std::borrow::Cow;

/// A value, borrowed where it can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) enum Value<'a> {
    Null,
    Integer(i64),
    Text(Cow<'a, str>),
    Blob(Cow<'a, [u8]>),
}

/// What can go into a statement.
pub(in crate::store) trait Param {
    fn value(&self) -> Value<'_>;
}

/// What can be read from a column.
pub(in crate::store) trait Column: Sized {
    /// None where the value is of another type, or too large for this one.
    fn read(value: Value<'_>) -> Option<Self>;
}

macro_rules! integers {
    ($($type:ty),+) => {
        $(
            impl Param for $type {
                fn value(&self) -> Value<'_> {
                    Value::Integer(i64::from(*self))
                }
            }

            impl Column for $type {
                fn read(value: Value<'_>) -> Option<Self> {
                    match value {
                        Value::Integer(number) => Self::try_from(number).ok(),
                        Value::Null | Value::Text(_) | Value::Blob(_) => None,
                    }
                }
            }
        )+
    };
}

integers!(i64, i32, u32, u16);

impl Param for bool {
    fn value(&self) -> Value<'_> {
        Value::Integer(i64::from(*self))
    }
}

impl Column for bool {
    fn read(value: Value<'_>) -> Option<Self> {
        i64::read(value).map(|number| number != 0)
    }
}

impl Param for str {
    fn value(&self) -> Value<'_> {
        Value::Text(Cow::Borrowed(self))
    }
}

impl Param for String {
    fn value(&self) -> Value<'_> {
        self.as_str().value()
    }
}

impl Column for String {
    fn read(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Text(text) => Some(text.into_owned()),
            Value::Null | Value::Integer(_) | Value::Blob(_) => None,
        }
    }
}

impl Param for [u8] {
    fn value(&self) -> Value<'_> {
        Value::Blob(Cow::Borrowed(self))
    }
}

impl<const N: usize> Param for [u8; N] {
    fn value(&self) -> Value<'_> {
        self.as_slice().value()
    }
}

impl Param for Vec<u8> {
    fn value(&self) -> Value<'_> {
        self.as_slice().value()
    }
}

impl Column for Vec<u8> {
    fn read(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Blob(bytes) => Some(bytes.into_owned()),
            Value::Null | Value::Integer(_) | Value::Text(_) => None,
        }
    }
}

impl<T: Param + ?Sized> Param for &T {
    fn value(&self) -> Value<'_> {
        (**self).value()
    }
}

impl<T: Param> Param for Option<T> {
    fn value(&self) -> Value<'_> {
        self.as_ref().map_or(Value::Null, Param::value)
    }
}

impl<T: Column> Column for Option<T> {
    fn read(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            Value::Integer(_) | Value::Text(_) | Value::Blob(_) => T::read(value).map(Some),
        }
    }
}
