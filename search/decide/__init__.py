"""Which trials there are to be and which go on, from the record alone; nothing here knows Ray."""
