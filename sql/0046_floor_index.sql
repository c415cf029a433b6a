-- What was said of whole kinds is part of the history of each of their documents, and there is little of it.

create index change_floor on policy.change (kind, revision) where op = 'floor';
