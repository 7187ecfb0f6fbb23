//! Options for writing values, and the size limit of large ones.

/// Size in bytes up to which a value is captured whole: of its text, of the binary string that the
/// text represents, or of its JSON as received. Key columns, numbers and other short types have no
/// limit.
pub(super) const LARGE_VALUE: usize = 8 << 20;

/// Feature flags that determine how values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValueOptions {
    /// Writes a `date` as a date; otherwise as a timestamp at midnight.
    pub date_as_date: bool,
    /// Writes a `time` as a time of day; otherwise as a number of microseconds.
    pub time_as_time: bool,
    /// Writes an array as a JSON array of all elements; otherwise as an object of dimensions and
    /// elements.
    pub flatten_arrays: bool,
    /// Writes an array as nested JSON arrays, one level for each dimension, whatever
    /// `flatten_arrays` is.
    pub multidimensional_arrays: bool,
}

impl Default for ValueOptions {
    fn default() -> Self {
        Self {
            date_as_date: true,
            time_as_time: true,
            flatten_arrays: true,
            multidimensional_arrays: false,
        }
    }
}
