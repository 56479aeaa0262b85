"""The only door to Supabase."""
