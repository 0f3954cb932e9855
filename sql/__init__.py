"""Relations and questions in SQL; `vfscreen.results.sql` reads them."""
