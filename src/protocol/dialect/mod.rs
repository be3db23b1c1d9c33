//! The dialects: names and shapes on the wire for the requests and answers of [`super::request`].
