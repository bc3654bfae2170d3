"""What tests of several parts share: made inputs, servers, browsers, runs."""
