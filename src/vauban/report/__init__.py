"""From a record to what people and machines read: terminal, HTML, JUnit, SARIF and evidence. Needs no torch; nothing is imported here."""
