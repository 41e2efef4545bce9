"""`serverless-mp deploy` and its siblings: the function, its layer and its role, from nothing and back to nothing.

Needs the extra: `pip install 'serverless_mp[aws]'`.
"""
