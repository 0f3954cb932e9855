"""The imaging room: from a file to decoded display values, and on to the network's input."""
