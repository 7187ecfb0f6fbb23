//! The bytes that need an escape, as lanes of a signed register.

/// The last of the control characters, all of which are escaped.
pub(super) const LAST_CONTROL: i8 = 0x1F;
pub(super) const QUOTE: i8 = b'"'.cast_signed();
pub(super) const BACKSLASH: i8 = b'\\'.cast_signed();
