-- What the catalogue holds at the start: a thousand playlists.
create table playlists (id int primary key, body text not null, plays bigint not null default 0);
insert into playlists
  select n, json_build_object('title', 'Playlist ' || n, 'tracks', (select json_agg(n * 40 + t) from generate_series(1, 40) t))
  from generate_series(1, 1000) n;
create role playlist login;
grant select, insert, update on playlists to playlist;
