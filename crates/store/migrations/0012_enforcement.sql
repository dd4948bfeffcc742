-- What binds on a machine, as its own server says: another one that is asked may be able to do more or less.
ALTER TABLE host ADD COLUMN enforcement TEXT;
