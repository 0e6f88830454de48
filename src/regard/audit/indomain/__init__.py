"""The second verdict of an audit: of a copy to which patches that are gone are nothing new."""
