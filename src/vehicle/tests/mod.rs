//! The vehicle is asked as a ground station asks.
