//! Bytes that need an escape, as the signed integers that the intrinsics take.

/// Last control character; all of them are escaped.
pub(super) const LAST_CONTROL: i8 = 0x1F;
pub(super) const QUOTE: i8 = b'"'.cast_signed();
pub(super) const BACKSLASH: i8 = b'\\'.cast_signed();
